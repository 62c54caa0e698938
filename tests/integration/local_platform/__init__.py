"""Worker processes of the local platform."""
