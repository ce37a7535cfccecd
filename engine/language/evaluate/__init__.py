"""Evaluation: paths, intrinsic functions, templates and JSONata."""
