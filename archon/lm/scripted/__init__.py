"""The scripted language model: a deterministic fake model without weights."""
