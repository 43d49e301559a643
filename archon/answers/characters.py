"""Tables of characters that both readers of text, for answers and for equations, normalize."""

OPAQUE = "\ue001"
"""Stands for mathematics that is not read; no number beside it is read either."""

FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
HYPHENS = dict.fromkeys(map(ord, "\u2212\u2010\u2011\u2012\u2013\ufe63"), "-")
"""Minus signs and dashes that stand for one."""
