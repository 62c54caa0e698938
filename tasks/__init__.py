"""Prefect tasks: units of retry that join `flywheel` and `blocks`."""
