"""Mathematical equivalence of two expressions."""

from __future__ import annotations


def are_equivalent(a: str, b: str) -> bool:
    """Return whether two different canonical expressions (``math_text.py``) are equivalent."""
    return False
