"""What one run leaves for the next: a kept evaluation set, what was ever seen, and scores to compare with."""
