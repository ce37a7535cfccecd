"""JSONata, by jlens behind this one package."""
