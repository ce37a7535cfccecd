"""The pure core: `decide`, `evolve`, `replay`. No clock, no chance, no I/O, no SQL (`architecture.md`)."""
