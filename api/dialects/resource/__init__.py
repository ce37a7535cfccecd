"""The resource API."""
