"""Where a command acts: on a server over HTTP, or on a database."""
