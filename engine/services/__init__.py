"""The services: what callers ask of an engine, whatever way they come in."""
