"""Model files, and the one way from a conversation to tokens that training and serving share."""
