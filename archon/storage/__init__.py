"""Atomic writes, locks and differences of files on disk."""
