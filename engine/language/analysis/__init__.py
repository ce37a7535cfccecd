"""Static analysis of definitions: steps, waits, edges, drawings."""
