"""What people type after a run, on stored files and real sockets."""
