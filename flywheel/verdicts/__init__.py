"""What may be concluded from scores: differences on the same items, ceilings, and a verdict for each candidate."""
