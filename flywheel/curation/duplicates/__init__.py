"""Which records repeat each other, word for word, nearly, or by meaning, and which depend on each other."""
