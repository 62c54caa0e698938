"""The outside world, each part behind one small protocol (`blocks.ports`)."""
