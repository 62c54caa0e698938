"""What follows from stored answers, beside earlier runs, and what people decide."""
