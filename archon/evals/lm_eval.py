r"""What lm-evaluation-harness takes for the answer in a text on its GSM8K tasks.

Its filters take the first or the last match of a pattern, and its metric removes commas, dollar
signs and one full stop at the end before it compares. All its quirks are kept, as the point is to
give the same result for the same text: a recited exemplar is the first match and wins, ``The
answer is 42`` at the end of a text is 4, ``5.00`` is not 5, a lone ``..`` is a number.

The patterns are those of lm-eval 0.4.13, whose tasks have the version 3.0. Time is linear
in the text.
"""

from __future__ import annotations

import re
from collections import deque

_HASHES = re.compile(r"#### (-?[0-9.,]+)")
_SENTENCE = re.compile(r"The answer is (-?[0-9.,]+).")
# ``-?[$0-9.,]{2,}|-?[0-9]+``, begun by a set of characters between which the search skips quickly.
_NUMBER = re.compile(r"[-$0-9.,](?:(?<=-)(?:[$0-9.,]{2,}|[0-9]+)|(?<!-)[$0-9.,]+|(?<=[0-9]))")


def strict_match(text: str) -> str | None:
    """What ``strict-match`` of the task ``gsm8k`` compares; None where it finds nothing.

    >>> strict_match("2 * 9 = 18\\n#### 18"), strict_match("#### $18")
    ('18', None)
    """
    match = _HASHES.search(text)
    return _compared(match[1]) if match else None


def cot_strict_match(text: str) -> str | None:
    """What ``strict-match`` of the tasks ``gsm8k_cot`` and ``gsm8k_cot_zeroshot`` compares.

    >>> cot_strict_match("The answer is 1,042."), cot_strict_match("The answer is 1,042")
    ('1042', '104')
    """
    match = _SENTENCE.search(text)
    return _compared(match[1]) if match else None


def flexible_extract(text: str) -> str | None:
    """What ``flexible-extract`` of all these tasks compares.

    >>> flexible_extract("She pays $1,042.00."), flexible_extract("She pays 18 dollars...")
    ('1042.00', '..')
    """
    last = deque(_NUMBER.finditer(text), maxlen=1)
    return _compared(last[0].group()) if last else None


def _compared(extracted: str) -> str:
    return extracted.replace(",", "").replace("$", "").removesuffix(".")
