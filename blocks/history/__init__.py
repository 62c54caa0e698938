"""History in one SQLite file, and what every run store has in common."""
