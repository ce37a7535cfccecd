"""The audit of a whole store: what `perdure verify` says."""
