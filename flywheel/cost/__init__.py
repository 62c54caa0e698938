"""What answering costs: per request, per 1,000 tokens, per month at the log's traffic, beside production."""
