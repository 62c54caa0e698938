"""Langfuse as the log store: the generations of a project, read over its public API.

settings.py   how to reach it: a block's fields, or the environment
api.py        one request, with patience
windows.py    all observations of a span of time, none twice and none left out
traces.py     the traces that observations belong to
store.py      the log store
block.py      the Prefect block
"""
