"""The platform for OpenAI-compatible services against a provider on a real socket."""
