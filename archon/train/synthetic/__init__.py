"""Synthetic training data, and the training of the model ``translate-numbers``."""
