"""Reads shared by the SQL databases, in statements that each of them understands."""
