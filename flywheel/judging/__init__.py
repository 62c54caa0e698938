"""A model as judge: what it is shown, how its verdicts are read, and how far they can be trusted."""
