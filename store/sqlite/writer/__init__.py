"""The writer: the one connection that writes, in a thread or a process of its own."""
