"""The process API."""
