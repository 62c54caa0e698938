"""Asking models and judges, and scoring what they answer."""
