"""Freeing what dead runs left, and datasets that nothing refers to."""
