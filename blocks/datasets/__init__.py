"""Dataset stores: a local directory, any fsspec URL."""
