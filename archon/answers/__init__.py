r"""From a model's text to the value of its answer, and equality of values (``readers.py``).

Reasoning and what a model writes after its own turn are removed first (``turns.py``). A number is
read where the text states its answer (``statements.py``): after the last ``answer is …``,
``\boxed{…}``, ``#### …`` or ``Answer: …`` (``marks.py``) whose clause states one (``clauses.py``).
If nothing is stated, the last number of the text counts (``last_number.py``). A statement of
something that is not one number has no value, whatever numbers occur elsewhere. ``code_blocks.py``
finds code.

Every function runs in time linear in the text, whatever the text is.

The functions are imported when they are first used, because their many regular expressions take
time to compile; modules that every command imports use them as ``answers.read_answer``.
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
