"""Dataset rows in the field's shapes: evaluation items, in-context examples, fine-tuning rows."""
