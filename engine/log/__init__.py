"""The log: events as bytes, the rows that are derived from them, and the proof that neither was changed."""
