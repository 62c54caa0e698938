"""From logged calls to fair datasets: extract, validate, deduplicate, split, check for leakage, write.

Each step is a function from directories to a directory. Records travel as Parquet (`flywheel.curation.schema`), in
batches, so memory is bounded by a batch; between the steps go row numbers and hashes. What a step leaves out it
writes to its own `rejected.jsonl` with a reason code, and its counts add up. `pipeline.py` runs them all; the steps
themselves stand in `extraction.py`, `validation/`, `duplicates/`, `splitting/` and `leakage/`.
"""
