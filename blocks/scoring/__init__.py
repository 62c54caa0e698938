"""Scores that something outside gives: judges, users' own functions and commands."""
