r"""Extract answers as lm-evaluation-harness (lm-eval) does for its GSM8K tasks.

Its filters use the first or the last match of a pattern, and its metric removes commas, dollar
signs and one trailing full stop before it compares. All quirks are reproduced, so that the scores
are the same. If a text repeats an exemplar, the exemplar's answer is the first match and counts.
``The answer is 42`` at the end of a text is read as 4; ``5.00`` does not equal 5; ``..`` is a
number.

The patterns are taken from lm-eval 0.4.13, whose tasks have version 3.0. All functions run in time
linear in the length of the text.
"""

from __future__ import annotations

import re
from collections import deque

_HASHES = re.compile(r"#### (-?[0-9.,]+)")
_SENTENCE = re.compile(r"The answer is (-?[0-9.,]+).")
# Equal to ``-?[$0-9.,]{2,}|-?[0-9]+``; the leading set lets the search skip other text quickly.
_NUMBER = re.compile(r"[-$0-9.,](?:(?<=-)(?:[$0-9.,]{2,}|[0-9]+)|(?<!-)[$0-9.,]+|(?<=[0-9]))")


def strict_match(text: str) -> str | None:
    """Extract the answer as the ``strict-match`` filter of the ``gsm8k`` task does.

    Return None if there is no match.

    >>> strict_match("2 * 9 = 18\\n#### 18"), strict_match("#### $18")
    ('18', None)
    """
    match = _HASHES.search(text)
    return _normalized(match[1]) if match else None


def cot_strict_match(text: str) -> str | None:
    """Extract the answer as ``strict-match`` of ``gsm8k_cot`` and ``gsm8k_cot_zeroshot`` does.

    Return None if there is no match.

    >>> cot_strict_match("The answer is 1,042."), cot_strict_match("The answer is 1,042")
    ('1042', '104')
    """
    match = _SENTENCE.search(text)
    return _normalized(match[1]) if match else None


def flexible_extract(text: str) -> str | None:
    """Extract the answer as the ``flexible-extract`` filter of all these tasks does.

    Return None if there is no match.

    >>> flexible_extract("She pays $1,042.00."), flexible_extract("She pays 18 dollars...")
    ('1042.00', '..')
    """
    last = deque(_NUMBER.finditer(text), maxlen=1)
    return _normalized(last[0].group()) if last else None


def _normalized(extracted: str) -> str:
    return extracted.replace(",", "").replace("$", "").removesuffix(".")
