"""GPU slots that all runs share."""
