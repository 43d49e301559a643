r"""Extract the answer from a model's text, and compare answers (``readers.py``).

Reasoning, and text after the end of the model's turn, are ignored (``turns.py``). A number is read
from the place where the text states its answer (``statements.py``): after the last ``answer is …``,
``\boxed{…}``, ``#### …`` or ``Answer: …`` (``marks.py``) that is followed by a number
(``clauses.py``). If the text states no answer, its last number is the answer (``last_number.py``).
If the stated answer is not a single number, the result is None, even if the text contains numbers.
``code_blocks.py`` finds code. ``kinds.py`` declares the types of answers; ``choice.py``,
``math_text.py``, ``json_values.py`` and ``texts.py`` read the others.

All functions run in time linear in the length of the text.

The functions are imported on first use, because their many regular expressions take time to
compile. Modules that every command imports should therefore call them in the form
``answers.read_answer``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archon.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from archon.answers.numerals import canonical_number
    from archon.answers.readers import (
        READING_VERSION,
        first_same,
        read_answer,
        read_program,
        read_stated,
        read_target,
        same_value,
    )

__all__ = [
    "READING_VERSION",
    "canonical_number",
    "first_same",
    "read_answer",
    "read_program",
    "read_stated",
    "read_target",
    "same_value",
]


__getattr__ = lazy_exports(
    globals(),
    dict.fromkeys(__all__, "archon.answers.readers")
    | {"canonical_number": "archon.answers.numerals"},
)
