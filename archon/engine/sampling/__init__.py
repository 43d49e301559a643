"""Sampling, constrained decoding and beam search."""
