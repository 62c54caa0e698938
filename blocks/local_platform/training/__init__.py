"""LoRA fine-tuning in a worker process that outlives who asked for it."""
