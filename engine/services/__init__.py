"""The application services: operations of an engine, shared by the HTTP API, the command line and programs."""
