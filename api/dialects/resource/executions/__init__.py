"""Routes about runs: found, read, steered, in bulk too."""
