"""The service API: workflows of steps that recur, and their runs."""
