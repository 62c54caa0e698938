"""Model endpoints: asking them, many at once, within their limits."""
