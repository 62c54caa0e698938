"""A model behind the chat protocol, in a worker process: generation in batches, shared prefixes computed once."""
