r"""Normalize a text with equations without changing its length.

Positions in the result are therefore also valid in the original text.
"""

from __future__ import annotations

import re

from archon.answers.characters import FULL_WIDTH, HYPHENS, OPAQUE

FRACTION = "\ue000"
"""Placeholder for the LaTeX command ``\\frac``. The two groups after it are kept."""

_SIGNS = {
    **FULL_WIDTH,
    **HYPHENS,
    **dict.fromkeys(map(ord, "\u00d7\u2715\u2716\u2217\u00b7\u22c5\u2a2f"), "*"),
    **dict.fromkeys(map(ord, "\u00f7\u2044\u2215"), "/"),
    **dict.fromkeys(map(ord, "\u2248\u2245\u2243"), "≈"),
    **dict.fromkeys(map(ord, "\u2190\u2192\u21d0\u21d2\u21d4\u27f9\u27f6"), "⇒"),
    **dict.fromkeys(map(ord, "\u2264\u2265\u2260\u2261\u221d\u226a\u226b"), "<"),
    **dict.fromkeys(map(ord, "\r\v\f\u0085\u2028\u2029"), "\n"),
    **dict.fromkeys(map(ord, "\u2007\u3000\u200b\ufeff"), " "),
    ord("\u2019"): "'",
    ord(FRACTION): OPAQUE,
}
_MEANINGS = {
    **dict.fromkeys(("times", "cdot", "ast"), "*"),
    "div": "/",
    **dict.fromkeys(("approx", "simeq", "cong", "sim"), "≈"),
    **dict.fromkeys(("neq", "ne", "leq", "le", "geq", "ge", "lt", "gt", "equiv", "propto"), "<"),
    **dict.fromkeys(("to", "implies", "iff", "rightarrow", "Rightarrow", "longrightarrow"), "⇒"),
    **dict.fromkeys(("frac", "dfrac", "tfrac", "cfrac"), FRACTION),
    **dict.fromkeys(("pounds", "euro"), " "),
    **dict.fromkeys(("lbrace", "lbrack"), "("),
    **dict.fromkeys(("rbrace", "rbrack"), ")"),
}
_FORMATS = """left right big Big bigl bigr Bigl Bigr bigg biggl biggr quad qquad hspace vspace hfill
    displaystyle textstyle boxed fbox mathbf mathrm mathit mathsf textbf textit textrm textsf emph
    text mbox bf rm phantom limits noindent centering"""
_BLANKED = frozenset(_FORMATS.split())
_COMMAND = re.compile(
    r"""
    \\(?:text|textbf|textit|textrm|mathrm|mbox|mathbf)\s?\{(?P<words>[^{}\\\n]{0,200})\}
    | \\(?:begin|end|tag|label)\s?\{[^{}\n]{0,40}\}
    | \\(?P<name>[A-Za-z]{1,30})
    | (?P<grouping>(?<=[0-9])(?:\\[,!;]|\{,\})(?=[0-9]{3}(?![0-9])))
    | \\(?P<sign>[^A-Za-z])
    """,
    re.X,
)
_EMPHASIS = re.compile(
    r"""
      (?<![^\s:(=\[,>])\*\*(?=[^\s*]) | (?<=[^\s*])\*\*(?![0-9({.$*-])
    | (?<![\w)\]}%*][ ])(?<![\w)\]}%*])\*(?=[^\s*])
    | (?<=[^\s*])\*(?=[ ]{0,3}(?:[\n=,;:)]|\.(?![0-9])|\Z)|[ ]{1,3}[A-Za-z])
    """,
    re.X,
)


def flatten(text: str) -> str:
    r"""Unify the spelling of signs, and replace LaTeX with signs and spaces of the same length.

    >>> flatten("4 \\times 2 = 8\\text{ km}")
    '4 *      2 = 8       km '
    """
    text = text.translate(_SIGNS)
    if "\\" in text:
        text = _COMMAND.sub(_meaning, text)
    return _EMPHASIS.sub(_blank, text) if "*" in text else text


def _blank(match: re.Match[str]) -> str:
    return " " * len(match.group())


def _meaning(command: re.Match[str]) -> str:
    whole = command.group()
    if command["grouping"]:
        return whole
    if command["words"] is not None:
        start = whole.index("{") + 1
        return " " * start + whole[start:-1] + " "
    if command["sign"]:
        return {"\\": " \n", "[": " \n", "]": " \n", "\n": " \n"}.get(
            command["sign"], f" {command['sign'] if command['sign'] in '$%#&{}' else ' '}"
        )
    name = command["name"]
    if name is None or name in _BLANKED:
        return " " * len(whole)
    return _MEANINGS.get(name, OPAQUE).ljust(len(whole))
