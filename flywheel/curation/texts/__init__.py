"""Texts as they are compared: without a template, normalised, as shingles, as vectors."""
