"""Targets of commands: a server over HTTP, or a database."""
