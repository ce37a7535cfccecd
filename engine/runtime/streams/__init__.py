"""Streams in memory: loaded, folded, and moved on."""
