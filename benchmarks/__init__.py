"""Benchmarks: `python3 dev.py bench [NAME …]`. Each states its durability settings and counts completed work."""
