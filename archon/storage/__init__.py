"""Atomic writes, locks, differences and run folders on disk."""
