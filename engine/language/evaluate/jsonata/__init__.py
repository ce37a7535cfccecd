"""JSONata, evaluated by the library jlens, which is imported in this package only."""
