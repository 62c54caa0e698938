"""The parts of a provider that speaks the OpenAI API."""
