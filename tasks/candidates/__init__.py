"""What is done for one candidate, whether it may start, and where."""
