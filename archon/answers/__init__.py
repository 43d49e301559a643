r"""Extraction of the answer from a model's text, and comparison of answers (``readers.py``).

Reasoning, and text after the end of the model's turn, are removed first (``turns.py``). A number is
read where the text states its answer (``statements.py``): after the last ``answer is …``,
``\boxed{…}``, ``#### …`` or ``Answer: …`` (``marks.py``) whose clause states one (``clauses.py``).
If the text states no answer, its last number counts (``last_number.py``). If it states an answer
other than a single number, the result is None, even if numbers occur elsewhere in the text.
``code_blocks.py`` finds code.

Every function runs in time linear in the length of the text, for every text.

The functions are imported on first use, because their many regular expressions take time to
compile. Modules that every command imports call them as ``answers.read_answer``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archon.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from archon.answers.numerals import canonical_number
    from archon.answers.readers import (
        READING_VERSION,
        read_answer,
        read_program,
        read_stated,
        read_target,
        same_value,
    )

__all__ = [
    "READING_VERSION",
    "canonical_number",
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
