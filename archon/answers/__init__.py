r"""From a model's text to the value of its answer, and equality of values (``readers.py``).

Reasoning and what a model writes after its own turn are removed first (``turns.py``). A number is
read where the text states its answer (``statements.py``): after the last ``answer is …``,
``\boxed{…}``, ``#### …`` or ``Answer: …`` (``marks.py``) whose clause states one (``clauses.py``).
If nothing is stated, the last number of the text counts (``last_number.py``). A statement of
something that is not one number has no value, whatever numbers occur elsewhere. ``code_blocks.py``
finds code.

Every function runs in time linear in the text, whatever the text is.
"""

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
