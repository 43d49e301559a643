"""Sequences and the continuous-batching scheduler."""
