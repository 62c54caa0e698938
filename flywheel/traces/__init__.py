"""Calls that tracing tools recorded, as records of a log.

calls.py           what all of them become, and what tells workload and client
chat.py            messages in parts, and in other providers' words, as chat-completions messages
otlp.py            OpenTelemetry's files: documents to spans
conventions.py     where the generations of the GenAI conventions put messages and tools
genai.py           one span as a record
langfuse.py        one observation of Langfuse as a record
"""
