"""The dialects of the HTTP API: thin tables of routes over one application service, each in a shape of its own."""
