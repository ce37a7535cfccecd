"""Workers: what acts on its own: tasks, timers, recovery."""
