"""What is trained on and what is measured: the split, what earlier runs say to it, what is left out after it."""
