"""Elasticsearch as the log store: reading production logs, and what writing them needs.

settings.py        how to reach it: a block's fields, or the environment
connection.py      the official client, with our retries
transport.py       what is tried again, and how long
failures.py        the client's errors, as ours
template.py        the index template that records want
mapping.py         is the index fit to be read?
queries.py         what a run asks for, in Elasticsearch's words
point_in_time.py   one frozen view of the log, and cursors over it
pages.py           a page of answers, decoded once
slices.py          several cursors at once, in a fixed order
survey.py          a first look at every record, to choose which to read
store.py           the log store
discovery.py       which workloads there are
mend.py            copying an unfit index into a fit one
block.py           the Prefect block
"""
