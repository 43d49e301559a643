r"""Types of answers: what each is called, how a model is asked to state it, and how nodes treat it.

``ANSWER_TYPES`` has one declaration for each ``archon.types.AnswerKind``, and ``readers.py`` the
functions that read it. All other code uses these two tables, so that a new type needs no change
elsewhere. This module compiles no patterns, because every command imports it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from archon.types import AnswerKind


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerType:
    """The declaration of a type of answers."""

    noun: str
    """What an answer contains, such as "number"."""
    verb: str = "state"
    """How an answer contains it: "state" or "contain"."""
    ending: str
    """The instruction to end a reply so that the answer can be read. It ends a prompt."""
    quiet_ending: str | None = None
    """The ending for templates whose worked examples show how to end; None uses ``ending``."""
    before: str = "The answer is "
    """What precedes the answer in a reply that this type's reader reads."""
    after: str = "."
    """What follows the answer in such a reply."""
    examples: str = "arithmetic"
    """Name of the shipped worked examples that are used if neither the prompt nor the benchmark
    names any."""
    program_result: str = "the answer"
    """What a program that answers the question returns."""
    needs_value: bool
    """True if a reply without a value is no answer: no model judges it, and it ranks last."""
    is_number: bool = False
    """True if every value is one number, so that calculations can stand for the complete text."""
    has_options: bool = False
    """True if the question may have options (``Question.choices``)."""
    grouping: Literal["equality", "meaning", "equivalence"] = "equality"
    """How values are found to be the same: by equal texts; also by meaning, if a vote asks for it;
    or by mathematical equivalence."""

    @property
    def states(self) -> str:
        """The predicate of one reply, such as "states a number"."""
        return f"{self.verb}s {'an' if self.noun[0] in 'aeio' else 'a'} {self.noun}"

    @property
    def states_none(self) -> str:
        """The predicate of one reply without a value, such as "states no number"."""
        return f"{self.verb}s no {self.noun}"

    @property
    def state_none(self) -> str:
        """The predicate of several replies without values, such as "state no number"."""
        return f"{self.verb} no {self.noun}"

    def reply(self, answer: str, reasoning: str = "") -> str:
        """Return a reply that states the answer, after its reasoning.

        >>> ANSWER_TYPES["number"].reply("5", "2 + 3 = 5")
        '2 + 3 = 5\\nThe answer is 5.'
        """
        gap = "\n\n" if self.before.startswith("```") else "\n"
        return f"{reasoning}{gap}{self.before}{answer}{self.after}".strip()


ANSWER_TYPES: Mapping[AnswerKind, AnswerType] = {
    "number": AnswerType(
        noun="number",
        ending='End with "The answer is N.", where N is the final number alone.',
        # With an instruction in addition to worked examples, a small model answered worse
        # (docs/log.md).
        quiet_ending="",
        needs_value=True,
        is_number=True,
    ),
    "text": AnswerType(
        noun="answer",
        ending='End with "The answer is X.", where X is the final answer alone.',
        needs_value=False,
        grouping="meaning",
    ),
    "choice": AnswerType(
        noun="option",
        ending='End with "The answer is (X).", where X is the letter of the right option.',
        before="The answer is (",
        after=").",
        examples="choices",
        program_result="the letter of the right option as the answer",
        needs_value=True,
        has_options=True,
    ),
    "math": AnswerType(
        noun="expression",
        ending="End with the final answer alone in \\boxed{}.",
        before="The answer is $\\boxed{",
        after="}$.",
        needs_value=True,
        grouping="equivalence",
    ),
    "code": AnswerType(
        noun="program",
        verb="contain",
        ending="End with the whole program in one ```python block.",
        before="```python\n",
        after="\n```",
        needs_value=False,
    ),
    "json": AnswerType(
        noun="JSON value",
        verb="contain",
        ending="End with the answer alone in one ```json block.",
        before="```json\n",
        after="\n```",
        examples="json",
        needs_value=True,
    ),
}
"""Type of answer → its declaration."""
