"""The runs API: workflows of steps, and their runs."""
