"""A model behind any server that speaks the OpenAI protocol."""
