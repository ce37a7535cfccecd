"""What the SQL databases have in common: reading in statements that each of them understands."""
