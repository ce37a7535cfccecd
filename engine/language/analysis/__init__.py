"""Analysis: what can be said of a definition that is not running."""
