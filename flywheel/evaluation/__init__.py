"""Comparing answers with reference answers, and saying how sure the result is."""
