"""Character tables for normalizing texts with answers or equations."""

OPAQUE = "\ue001"
"""Placeholder for mathematics that cannot be parsed. A number next to it is not read either."""

FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
HYPHENS = dict.fromkeys(map(ord, "\u2212\u2010\u2011\u2012\u2013\ufe63"), "-")
"""Translation table from minus signs, and from dashes used as minus signs, to ``-``."""
