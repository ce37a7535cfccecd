"""The model: compiled definitions, and the behaviour of each state type."""
