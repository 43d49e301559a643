"""Scaling curves: accuracy and pass@k against the number of samples, tokens and seconds."""
