"""Routes about who may call, and what they call: keys, organizations, the clock."""
