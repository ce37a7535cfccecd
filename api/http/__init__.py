"""HTTP: what all dialects have in common."""
