"""The scripted LM: no weights, deterministic."""
