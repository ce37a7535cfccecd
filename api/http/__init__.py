"""HTTP: the parts that all dialects share."""
