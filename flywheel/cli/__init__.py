"""The `flywheel` command: one module a command, found by name. The only part of `flywheel` that starts things."""
