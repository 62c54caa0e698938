"""The proof that no evaluation item stands in training, by means that deduplication and split do not use."""
