"""Parsing: from JSON to the model, with everything that is wrong told at its place."""
