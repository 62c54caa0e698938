"""What a run found out, as plain typed data: it is kept with the run, and reports are made of it.

How it is found stands elsewhere: `flywheel.verdicts`, `flywheel.cost`, `flywheel.history`, `flywheel.evaluation`.
"""
