"""Texts that show differences between tokenizers: scripts, numbers, white space, emoji, code."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator
from functools import cache

_LAST = 0x10FFFF
_BLOCK = 128
_HAND_MADE = (
    "", " ", "  ", "\n", " \n ", "\r\n", "\t", "a", " a", "a ", "  a  b   c    d     e",
    "the answer is 12.\n\nand the", "I'm, WE'LL they'd 'Re it'ſ 'K", "don't''ll's",
    "x\r\n\r\ny\r z\n\n\n w", "1234567890 12,000.50 3.14e-10 0x1F 1_000 ²³ ½ ٣٤٥ 一二三 Ⅷ ①②",
    "naïve café é e\u0301 n\u0303 ﬁ ﬂ Å Å ſ İi Iı ß ẞ",
    "数学 日本語のテキスト 한국어 조선글 中文，标点。",
    "🧮 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪 ☺️ ✂ ❤️‍🔥", "العربية هذا نص ١٢٣ עברית", "हिन्दी क्षत्रिय বাংলা తెలుగు ไทยไม่มี",
    "a\tb\u00a0c\u2028d\u2029e\u3000f\u200bg\u200dh\ufeffi\u0085j\x0bk\x0cl",
    "under_score camelCase PascalCase SCREAMING_CASE kebab-case HTTPServer2 iPhone15",
    "def f(x: int) -> int:\n    return x ** 2  # squared\n\n\tif (a==b && c!=d) { y+=1; }\n",
    "<html><body class=\"a\">&amp;</body></html> {{ x }} [INST] <0x0A> <unk> ▁ ▁▁a ▁ b",
    "#! ?? ... ---- ==== //// \\\\ ``` $$$ €£¥ ©®™ → ⇒ ∀x∈ℝ: x²≥0", "\x00\x01\x1f\x7f",
    "Привет, мир! Ёлка ΑΒΓ αβγ ὈΔΥΣΣΕΎΣ ქართული Ქ հայերեն",
    "a,b;c:d!e?f", "aaaaaaaaaaaaaaaaaaaaaaa",
    "https://example.org/a?b=c&d=%20#e me@x.org", "12:30:45 2024-01-31 1/2 50% -7 +3 1st 22nd",
)  # fmt: skip


@cache
def hostile_texts() -> tuple[str, ...]:
    """Return the corpus: texts by hand, one per Unicode block, and random mixtures of all."""
    blocks = list(_blocks())
    rng = random.Random(0)
    letters = [letter for text in (*_HAND_MADE, *blocks) for letter in text]
    common = [*" \n\t'.,0123456789abcdefghijklmnopqrstuvwxyzABC"]
    mixed = [
        "".join(rng.choice(common if rng.random() < 0.7 else letters) for _ in range(60))
        for _ in range(60)
    ]
    return (*_HAND_MADE, *blocks, *mixed)


def _blocks() -> Iterator[str]:
    """Yield a text of up to eight assigned characters of each 128 code points."""
    for start in range(0, _LAST, _BLOCK):
        codes = range(start, min(start + _BLOCK, _LAST + 1))
        assigned = [c for c in map(chr, codes) if unicodedata.category(c) not in ("Cn", "Cs", "Co")]
        if assigned:
            step = -(-len(assigned) // 8)
            yield "x" + "".join(assigned[::step]) + " " + " ".join(assigned[1::step])
