"""The driver: it sees the world (clock, chance, store, steps) and feeds the pure core."""
