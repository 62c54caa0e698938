"""Platforms that speak the OpenAI API: hosted providers, and servers of one's own such as vLLM, NIM or llama.cpp."""
