"""The model: what a definition is once it is compiled, and what each state does."""
