"""Taking records out of what was made from them, on request: datasets, evaluations, adapters."""
