"""Atomic writes, locks, differences between data, and folders of runs."""
