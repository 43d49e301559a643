"""The named templates, as data.

Every judge's template begins with the question, so that the judges of a graph share that prefix.
The fields ``{question}``, ``{candidates}`` and ``{critiques}`` are filled in for each call;
``{ending}`` is replaced here by how an answer of the wanted kind ends, so that ``archon.answers``
can read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from archon.types import AnswerKind

NodeType = Literal["generator", "critic", "ranker", "fuser", "verifier"]

ENDINGS: Mapping[AnswerKind, str] = {
    "number": 'End with "The answer is N.", where N is the final number alone.',
    "text": 'End with "The answer is X.", where X is the final answer alone.',
    "code": "End with the whole program in one ```python block.",
}

QUIET_ENDINGS: Mapping[AnswerKind, str] = {**ENDINGS, "number": ""}
"""The same where worked examples show how a number ends: told in words as well, it made a small
model worse (figures in ``docs/log.md``)."""

WORKED_REPLY: Mapping[AnswerKind, str] = {
    "number": "{reasoning}\nThe answer is {answer}.",
    "text": "{reasoning}\nThe answer is {answer}.",
    "code": "{reasoning}\n\n```python\n{answer}\n```",
}
"""How a worked example is answered; also where the wording is the user's own."""

SHORT_REPLY: Mapping[AnswerKind, str] = {
    "number": "The answer is {answer}.",
    "text": "The answer is {answer}.",
    "code": "```python\n{answer}\n```",
}
"""The same where a template asks for no working."""


@dataclass(frozen=True, slots=True)
class Template:
    """A named wording of one type of node."""

    description: str
    text: str
    asks_for_working: bool = True
    tells_ending: bool = True
    """Whether the wording says how a number ends, or leaves that to worked examples."""

    def wording(self, answer: AnswerKind) -> str:
        """The text for one kind of answer."""
        ending = (ENDINGS if self.tells_ending else QUIET_ENDINGS)[answer]
        return self.text.replace("{ending}", ending).rstrip()

    def reply(self, answer: AnswerKind) -> str:
        """How a worked example is answered."""
        return (WORKED_REPLY if self.asks_for_working else SHORT_REPLY)[answer]


GENERATOR_TEMPLATES: Mapping[str, Template] = {
    "cot": Template(
        "Think step by step, then answer.",
        "Question: {question}\nLet's think step by step. {ending}",
        tells_ending=False,
    ),
    "concise": Template(
        "A few short lines of working, then the answer.",
        "{question}\n\nWork it out in a few short lines, one calculation a line. {ending}",
    ),
    "stepwise": Template(
        "Numbered steps, each with its calculation.",
        "{question}\n\nSolve this in numbered steps. In each step, say what you work out, then"
        " write the calculation and its result. {ending}",
    ),
    "given": Template(
        "First what is known and what is asked, then the working.",
        "{question}\n\nFirst write down what is known and what is asked. Then calculate, one step"
        " a line, and check each result. {ending}",
    ),
    "direct": Template(
        "The answer at once, without working.",
        "{question}\n\nGive the answer at once, without any working. {ending}",
        asks_for_working=False,
    ),
    "bare": Template(
        "The question alone; worked examples, if any, show the form.",
        "{question}",
    ),
}

CRITIC_TEMPLATES: Mapping[str, Template] = {
    "critique": Template(
        "Strengths and weaknesses of every candidate, in one reply.",
        """\
{question}

Below are candidate answers to this question, each under its number.

{candidates}

For each candidate, list its strengths and its weaknesses. Check every step and every calculation. \
Begin the part on a candidate with its number in brackets, on a new line. Do not write an answer \
of your own.""",
    ),
}

RANKER_TEMPLATES: Mapping[str, Template] = {
    "rank": Template(
        "Order all candidates, best first, in one reply.",
        """\
{question}

Below are candidate answers to this question, each under its number.

{candidates}

{critiques}

Compare the candidates: whose steps are sound, whose calculations are right? Then order all of \
them from best to worst. End with one line of their numbers, in this form:
Ranking: [best] > [next best] > ... > [worst]""",
    ),
}

FUSER_TEMPLATES: Mapping[str, Template] = {
    "fuse": Template(
        "One better answer from all candidates and their critiques.",
        """\
{question}

Below are candidate answers to this question, each under its number. Some may be wrong.

{candidates}

{critiques}

Write one answer that is better than all of them: keep what is right, correct what is wrong, and \
do every calculation again yourself. Answer the question as if you were the first to do so, \
without speaking of the candidates. {ending}""",
    ),
}

VERIFIER_TEMPLATES: Mapping[str, Template] = {
    "verify": Template(
        "Argue whether one candidate is right, then judge.",
        """\
{question}

Below is a candidate answer to this question.

{candidates}

Is its final answer right? Argue first: go through it step by step and do every calculation \
again yourself. Then judge. End with one line: "Verdict: correct" if the final answer is right, \
"Verdict: incorrect" if it is wrong.""",
    ),
}

TEMPLATES: Mapping[NodeType, Mapping[str, Template]] = {
    "generator": GENERATOR_TEMPLATES,
    "critic": CRITIC_TEMPLATES,
    "ranker": RANKER_TEMPLATES,
    "fuser": FUSER_TEMPLATES,
    "verifier": VERIFIER_TEMPLATES,
}
"""By type of node; the first of each type is its default."""


def default_template(node_type: NodeType) -> str:
    """The name of the template that a node uses when nothing else is said."""
    return next(iter(TEMPLATES[node_type]))
