"""Log files, and what every log store has in common."""
