r"""Normalize a text before its numbers are read: unify signs, and remove LaTeX.

LaTeX's formatting commands are removed, commands with an equivalent sign become that sign, and a
fraction of two numbers becomes ``a/b``. Everything else, such as a root or ``\pi``, becomes
``OPAQUE``. A number next to ``OPAQUE`` is not read, so that ``3\sqrt{2}`` is not read as 3.
"""

from __future__ import annotations

import re
import unicodedata

from archon.answers.characters import FULL_WIDTH, HYPHENS, OPAQUE

_CALCULATION = re.compile(r"<<[^<>\n]{1,200}>>")
"""A calculator annotation of GSM8K, as in ``3 * 6 = <<3*6=18>>18``."""
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2063\u2064\ufe0e\ufe0f\ufeff"
_CHARACTERS = {
    **FULL_WIDTH,
    **dict.fromkeys(map(ord, _INVISIBLE), None),
    **HYPHENS,
    ord("\u207b"): "-",
    **dict.fromkeys(map(ord, "\u2044\u2215"), "/"),
    **dict.fromkeys(map(ord, "\u00b7\u22c5\u2062\u2715\u2a2f"), "\u00d7"),
    **dict.fromkeys(map(ord, "\u2018\u2019\u02bc\u2032"), "'"),
    **dict.fromkeys(map(ord, "\u2033\u201d\u201c"), '"'),
    **dict.fromkeys(map(ord, "\u2243\u2245\u223c"), "≈"),
    **dict.fromkeys(map(ord, "\u2a7d\u2266"), "≤"),
    **dict.fromkeys(map(ord, "\u2a7e\u2267"), "≥"),
    **dict.fromkeys(map(ord, "\u2192\u21d2\u27f9\u27f6\u27f8\u21d4"), "⇒"),
    **dict.fromkeys(map(ord, "\u00a0\u2005\u2006\u2007\u2008\u2009\u200a\u202f"), "\u202f"),
    ord("\u066b"): ".",
    ord("\u066c"): ",",
    ord("\u066a"): "%",
    ord("\u207a"): "+",
    ord("\u2213"): "±",
    **dict.fromkeys(map(ord, "√∛∜∞\u00ac"), OPAQUE),
}
_VULGAR = {
    char: unicodedata.normalize("NFKC", char).replace("\u2044", "/")
    for char in "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
}
_VULGAR_FRACTION = re.compile(f"[{''.join(_VULGAR)}]")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_SUPERSCRIPT = re.compile(r"(-?)([⁰¹²³⁴-⁹]+)")
_STRAY_GROUPING = re.compile(r"(?<![0-9])\u202f|\u202f(?![0-9])")

# ------------------------------------------------------------------------------------------ LaTeX

_GROUP = r"\{(?:[^{}\n]|\{[^{}\n]{0,60}\}){0,200}\}"
_WORDS = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|up|normal)?|math(?:rm|bf|it|sf|tt|bb|cal)|operatorname|[mh]box"
    r"|underline|emph|bm|boldsymbol)\s?\{([^{}]{0,300})\}"
)
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z])")
"""The two backslashes of a command in a text that was escaped twice."""
_COLOR = re.compile(r"\\(?:text)?color\s?\{[^{}]{0,40}\}")
_LATEX_GROUPING = re.compile(r"(?<=[0-9])(?:\\[,;:]|\\[ ]|~)(?=[0-9]{3}(?![0-9]))")
_LATEX_COMMA = re.compile(r"(?<=[0-9])(?:\{,\}|,\\!)(?=[0-9])")
_FRACTION = re.compile(
    r"\\[cdt]?frac\s?(?:\{([^{}]{1,400})\}|([0-9]))\s?(?:\{([^{}]{1,400})\}|([0-9]))"
)
_PLAIN_NUMBER = re.compile(r"\s*+([-+]?)\s?[$€£¥₹]?\s?([0-9][0-9.,]*+)\s*+")
_DEGREE = re.compile(r"\^\s?\{?\s?\\(?:circ|degree)\}?|\\(?:degree|textdegree)(?![A-Za-z])")
_FORMATS = """left right big Big bigl bigr Bigl Bigr bigg Bigg biggl biggr quad qquad hspace vspace
    hfill displaystyle textstyle scriptstyle bf rm it tt large Large huge Huge normalsize small
    mathbf mathrm phantom limits noindent centering hline newline par"""
_MEANINGS = {
    **dict.fromkeys(("times", "cdot", "ast", "bullet"), "\u00d7"),
    "div": "÷",
    **dict.fromkeys(("approx", "simeq", "sim", "cong", "thickapprox"), "≈"),
    **dict.fromkeys(("leq", "le", "leqslant", "lt"), "≤"),
    **dict.fromkeys(("geq", "ge", "geqslant", "gt"), "≥"),
    **dict.fromkeys(("neq", "ne"), "≠"),
    **dict.fromkeys(("pm", "mp"), "±"),
    **dict.fromkeys(("ldots", "dots", "cdots"), "…"),
    **dict.fromkeys(("to", "implies", "iff", "rightarrow", "Rightarrow", "Longrightarrow"), "⇒"),
    **dict.fromkeys(("longrightarrow", "therefore", "because", "mapsto"), "⇒"),
    **dict.fromkeys(("lbrace", "lbrack"), "("),
    **dict.fromkeys(("rbrace", "rbrack"), ")"),
    **dict.fromkeys(("mid", "vert", "lvert", "rvert"), "|"),
    "pounds": "£",
    "euro": "€",
    **dict.fromkeys(_FORMATS.split(), " "),
}
_TABLE = re.compile(
    r"\\(?:begin|end)\s?\{(?:[bBpvV]?(?:small)?matrix|array|[dr]?cases|tabular)\*?\}"
    r"(?:\{[lcr| ]{1,20}\})?"
)
"""The beginning or end of a LaTeX environment that contains several values, such as a matrix."""
_KNOWN = re.compile(
    rf"""
      \\(?:begin|end|tag|label)\s?\{{[^{{}}\n]{{0,40}}\}}
    | \\(?P<name>{"|".join(_MEANINGS)})(?![A-Za-z])
    | \\(?P<sign>[^A-Za-z])
    """,
    re.X,
)
_RAISED = re.compile(r"<su(?:(?P<p>p)|b)>([^<>\n]{1,20})</su(?(p)p|b)>", re.I)
_PLUS_MINUS = re.compile(r"\+[ ]?/[ ]?-|(?<=[0-9 ])\+-(?=[ ]?[0-9])")
_SPACES = re.compile(r"[ ]{2,}")
_UNKNOWN = re.compile(
    rf"\\(?!f?boxed)[A-Za-z]{{1,30}}(?:\s?\[[^\[\]\n]{{0,20}}\])?(?:\s?{_GROUP}){{0,2}}"
)


_NEGATIVE = re.compile(r"(?:[负負]|マイナス)(?=[$€£¥₩]?[0-9])")


def normalize(text: str) -> str:
    r"""Unify the spelling of signs, and remove all LaTeX commands except ``\boxed``.

    >>> normalize("−\\frac{3}{4} of \\$1{,}000")
    '-3/4 of $1,000'
    """
    if "<<" in text:
        text = _CALCULATION.sub("", text)
    if "<" in text:
        text = _RAISED.sub(_raised, text)
    if not text.isascii():
        text = _NEGATIVE.sub(" -", _ascii_digits(text.translate(_CHARACTERS)))
    if "\\" in text or "{,}" in text:
        text = _without_latex(text)
    if "+" in text:
        text = _PLUS_MINUS.sub("±", text)
    return _STRAY_GROUPING.sub(" ", text) if "\u202f" in text else text


def _raised(found: re.Match[str]) -> str:
    return f"{'^' if found['p'] else '_'}{{{found[2]}}}"


def _ascii_digits(text: str) -> str:
    foreign = {char for char in set(text) if char.isdecimal() and not char.isascii()}
    if foreign:
        text = text.translate({ord(char): str(unicodedata.decimal(char)) for char in foreign})
    text = _SUPERSCRIPT.sub(lambda power: f"^{power[1]}{power[2].translate(_SUPERSCRIPTS)}", text)
    return _VULGAR_FRACTION.sub(lambda found: _after_digit(found, _VULGAR[found.group()]), text)


def _after_digit(found: re.Match[str], fraction: str) -> str:
    """Return a fraction, with a space before it if digits precede, so that ``2½`` is ``2 1/2``."""
    before = found.string[max(0, found.start() - 1) : found.start()]
    return f" {fraction}" if before.isdigit() else fraction


def _without_latex(text: str) -> str:
    text = _DOUBLED.sub(lambda _: "\\", text)
    text = _TABLE.sub(OPAQUE, text)
    text = _LATEX_COMMA.sub(",", _LATEX_GROUPING.sub("\u202f", _COLOR.sub("", text)))
    for _ in range(2):  # they may be nested
        if "\\" in text:
            text = _FRACTION.sub(_slashed, _WORDS.sub(r"\1", text))
    text = _UNKNOWN.sub(OPAQUE, _KNOWN.sub(_meaning, _DEGREE.sub("°", text)))
    return _SPACES.sub(" ", text)


def _slashed(fraction: re.Match[str]) -> str:
    r"""Convert ``\frac{a}{b}`` to ``a/b`` if both are numbers, else to ``OPAQUE``."""
    top, bottom = fraction[1] or fraction[2], fraction[3] or fraction[4]
    if top.isdigit() and bottom.isdigit():
        return _after_digit(fraction, f"{top}/{bottom}")
    over, under = _PLAIN_NUMBER.fullmatch(top), _PLAIN_NUMBER.fullmatch(bottom)
    if over is None or under is None:
        return OPAQUE
    sign = "-" if (over[1] == "-") != (under[1] == "-") else ""
    if sign and fraction.string[max(0, fraction.start() - 1) : fraction.start()].isdigit():
        return OPAQUE
    return _after_digit(fraction, f"{sign}{over[2]}/{under[2]}")


def _meaning(command: re.Match[str]) -> str:
    sign, name = command["sign"], command["name"]
    if sign is not None:
        return {"\\": "\n", "\n": "\n"}.get(sign, sign if sign in "$%#&_{}" else " ")
    return _MEANINGS[name] if name is not None else " "
