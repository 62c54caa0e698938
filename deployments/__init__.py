"""What makes the flows run elsewhere: set-up of a server, job templates, images."""
