"""Synthetic training data, and a script that trains the ``translate-numbers`` model."""
