"""History in MongoDB."""
