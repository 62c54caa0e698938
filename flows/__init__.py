"""Prefect flows: the DAGs."""
