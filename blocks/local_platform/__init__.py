"""Fine-tuning and serving on this machine, in worker processes of their own.

`platform.LocalPlatform` is the way in and imports nothing heavy. `training.trainer` and `serving.server` are the two
worker processes; what both share (`models`: chat rendering, packed attention, model loading) makes training and
serving see the same tokens.
"""
