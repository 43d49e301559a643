"""OpenAI-compatible server for language models and architectures. Needs the ``serve`` extra."""
