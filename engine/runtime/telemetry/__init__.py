"""Telemetry: what is measured, and what log lines are bound to."""
