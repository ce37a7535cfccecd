"""Parsing: from JSON to the model, with every problem reported by its JSON Pointer."""
