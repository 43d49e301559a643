"""Named templates of prompts.

Every judge's template begins with the question, so that the judges of a graph share that prefix.
Each call fills in the placeholders of its ``PromptKind``. ``{ending}`` becomes the instruction to
end so that the answer can be read, and ``{result}`` what a program returns. Both depend on the
type of the answer (``archon.answers.kinds``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from archon.answers.kinds import ANSWER_TYPES
from archon.errors import SpecError
from archon.graph.prompts.wording import Wording
from archon.plugins import lookup, registry
from archon.plugins.declarations import TemplatePlugin
from archon.plugins.registry import Registration
from archon.types import AnswerKind, Example


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt's wording that files can refer to by its name."""

    description: str
    text: str
    asks_for_working: bool = True
    states_ending: bool = True
    """True if the wording says how a numeric answer must end, False if only the examples show
    it."""
    asks_for_program: bool = False
    """True if the reply is a program. Templates for programs have no worked examples, because the
    examples are in prose. The value of a reply is unknown until it is run."""

    def wording(self, answer: AnswerKind, ending: bool = True) -> str:
        """Return the template's text, filled in for a kind of answer.

        ``ending`` is False if the complete reply is the answer (``Question.ending``).
        """
        declared = ANSWER_TYPES[answer]
        quiet = None if self.states_ending else declared.quiet_ending
        asked = (declared.ending if quiet is None else quiet) if ending else ""
        text = self.text.replace("{ending}", asked)
        return text.replace("{result}", declared.program_result).rstrip()

    def reply(self, example: Example, answer: AnswerKind) -> str:
        """Return the reply of a worked example."""
        reasoning = example.reasoning if self.asks_for_working else ""
        return ANSWER_TYPES[answer].reply(example.answer, reasoning)


@dataclass(frozen=True, slots=True, eq=False)
class PromptKind:
    """The templates for one purpose, such as ranking, and the placeholders of a custom text."""

    name: str
    """A node type, or ``TYPE.METHOD`` for a method with its own templates."""
    templates: Mapping[str, Template]
    """Name → template; the first is the default."""
    required: tuple[str, ...] = ("question", "candidates")
    """Placeholders that a custom text must contain."""
    filled: tuple[str, ...] = ("question", "candidates", "critiques")
    """Placeholders that a custom text may contain if the node reads candidates."""
    puts_question: bool = False
    """True if the prompt asks the model to answer the question."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "templates", WithPlugins(self, dict(self.templates)))

    @property
    def shipped_templates(self) -> Mapping[str, Template]:
        """The templates that Archon ships, or that the node's plug-in declares."""
        assert isinstance(self.templates, WithPlugins)
        return self.templates.shipped

    @property
    def title(self) -> str:
        """The name used in error messages, such as ``ranker by pairwise``."""
        return self.name.replace(".", " by ")

    @property
    def default(self) -> str:
        """The name of the default template."""
        return next(iter(self.templates))

    def placeholders(self, reads_candidates: bool) -> tuple[str, ...]:
        """Return the placeholders that a custom text may contain."""
        if reads_candidates:
            return self.filled
        return tuple(name for name in self.filled if name not in ("candidates", "critiques"))


class WithPlugins(Mapping[str, Template]):
    """The templates of a prompt kind, and those of plug-ins.

    The iteration has the plug-ins' templates that are loaded; the lookup of an unknown name loads
    all plug-ins.
    """

    def __init__(self, kind: PromptKind, shipped: Mapping[str, Template]) -> None:
        self._kind, self.shipped = kind, shipped
        self._made: dict[Registration, Template] = {}

    def __getitem__(self, name: str) -> Template:
        found = self.shipped.get(name)
        if found is not None:
            return found
        registration = lookup.find("template", f"{self._kind.name}/{name}") if name else None
        if registration is None:
            raise KeyError(name)
        if registration not in self._made:
            self._made[registration] = self._template(registration)
        return self._made[registration]

    def _template(self, registration: Registration) -> Template:
        """Make a plug-in's template, after checking its placeholders.

        Raises
        ------
        SpecError
            A placeholder that the prompt needs is missing, or one does not exist.
        """
        plugin: TemplatePlugin = registration.declaration
        template = Template(
            plugin.description,
            plugin.text,
            asks_for_working=plugin.asks_for_working,
            asks_for_program=plugin.asks_for_program,
        )
        fields = Wording(template.wording("number")).fields
        place = f"{registration.place}: the template {plugin.name!r}"
        for field in self._kind.required:
            if field not in fields:
                raise SpecError(f"the text does not contain {{{field}}}", file=place)
        for field in sorted(fields.difference(self._kind.filled)):
            filled = ", ".join(f"{{{each}}}" for each in self._kind.filled)
            raise SpecError(f"the text has {{{field}}}, but only {filled} are filled", file=place)
        return template

    def __iter__(self) -> Iterator[str]:
        prefix = f"{self._kind.name}/"
        names = (n for n in registry.names("template") if n.startswith(prefix))
        return iter([*self.shipped, *(name.removeprefix(prefix) for name in names)])

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _single(kind: str, name: str, description: str, text: str, **placeholders: Any) -> PromptKind:
    """Return a prompt kind with a single template."""
    return PromptKind(kind, {name: Template(description, text)}, **placeholders)


CONVERSATION = Template(
    "The messages that each candidate's writer read; the question alone if they are unknown.",
    "{question}",
)
"""For reward models only: each candidate is rated as a reply to the messages its writer read."""

_SCORED_REPLY = (("question",), ("question",), True)
"""``required``, ``filled`` and ``puts_question`` of prompts to which the candidates are replies."""

_QUESTION_TEMPLATES: Mapping[str, Template] = {
    "cot": Template(
        "Step-by-step reasoning, then the answer.",
        "Question: {question}\nLet's think step by step. {ending}",
        states_ending=False,
    ),
    "concise": Template(
        "A few short lines of calculation, then the answer.",
        "{question}\n\nWork it out in a few short lines, one calculation a line. {ending}",
    ),
    "stepwise": Template(
        "Numbered steps, each with its calculation.",
        "{question}\n\nSolve this in numbered steps. In each step, say what you work out, then"
        " write the calculation and its result. {ending}",
    ),
    "given": Template(
        "First what is known and what is asked, then the calculation.",
        "{question}\n\nFirst write down what is known and what is asked. Then calculate, one step"
        " a line, and check each result. {ending}",
    ),
    "direct": Template(
        "The answer alone, without calculation.",
        "{question}\n\nGive the answer at once, without any working. {ending}",
        asks_for_working=False,
    ),
    "program": Template(
        "A Python function that returns the answer, to be run by a `program` node.",
        "{question}\n\nWrite a Python function `solution()` that works out and returns {result}"
        " to this question. Calculate each step in code. Reply with the code alone.",
        asks_for_program=True,
    ),
    "bare": Template(
        "The question alone; worked examples, if any, show the format.",
        "{question}",
    ),
}

_REWARD_TEMPLATES: Mapping[str, Template] = {
    "bare": _QUESTION_TEMPLATES["bare"],  # the default
    **_QUESTION_TEMPLATES,
    "conversation": CONVERSATION,
}

GENERATOR = PromptKind("generator", _QUESTION_TEMPLATES, required=("question",), puts_question=True)
LIKELIHOOD = PromptKind("ranker.likelihood", _QUESTION_TEMPLATES, *_SCORED_REPLY)
RANKER_REWARD = PromptKind("ranker.reward", _REWARD_TEMPLATES, *_SCORED_REPLY)
VERIFIER_REWARD = PromptKind("verifier.reward", _REWARD_TEMPLATES, *_SCORED_REPLY)

_ONE_CANDIDATE = """\
{question}

Below is a candidate answer to this question.

{candidates}

"""
_ALL_CANDIDATES = """\
{question}

Below are candidate answers to this question, each under its number.

{candidates}

"""

CRITIC = _single(
    "critic",
    "critique",
    "List strengths and weaknesses of every candidate, in one reply.",
    _ALL_CANDIDATES
    + """\
For each candidate, list its strengths and its weaknesses. Check every step and every calculation. \
Begin the part on a candidate with its number in brackets, on a new line. Do not write an answer \
of your own.""",
)

RANKING = _single(
    "ranker",
    "rank",
    "A ranking of all candidates, best first, in one reply.",
    _ALL_CANDIDATES
    + """\
{critiques}

Compare the candidates: whose steps are sound, whose calculations are right? Then order all of \
them from best to worst. End with one line of their numbers, in this form:
Ranking: [best] > [next best] > ... > [worst]""",
)

PAIR = _single(
    "ranker.pairwise",
    "pair",
    "Compare two candidates and name the better one.",
    """\
{question}

Below are two candidate answers to this question, each under its number.

{candidates}

{critiques}

Which of the two is better: whose steps are sound, whose final answer is right? Reply with one \
line: "Better: [1]" or "Better: [2]".""",
)

GRADE = _single(
    "ranker.logit",
    "grade",
    "Grade one candidate with a single digit.",
    _ONE_CANDIDATE
    + """\
{critiques}

Grade it: 1 if its final answer is surely wrong, 9 if it is surely right, or a digit between. \
Reply with the digit alone.""",
)

FUSER = _single(
    "fuser",
    "fuse",
    "Write one better answer from all candidates and their critiques.",
    """\
{question}

Below are candidate answers to this question, each under its number. Some may be wrong.

{candidates}

{critiques}

Write one answer that is better than all of them: keep what is right, correct what is wrong, and \
do every calculation again yourself. Answer the question as if you were the first to do so, \
without speaking of the candidates. {ending}""",
)

VERDICT = _single(
    "verifier",
    "verify",
    "Argue about one candidate, then judge whether it is correct.",
    _ONE_CANDIDATE
    + """\
Is its final answer right? Argue first: go through it step by step and do every calculation \
again yourself. Then judge. End with one line: "Verdict: correct" if the final answer is right, \
"Verdict: incorrect" if it is wrong.""",
)

YES_OR_NO = _single(
    "verifier.logit",
    "yes-or-no",
    "Judge in one word whether one candidate is correct.",
    _ONE_CANDIDATE + "Is its final answer right? Reply with one word: Yes or No.",
)

STATE_TESTS = _single(
    "unit_test_generator",
    "state-tests",
    "Write statements that a correct answer satisfies.",
    """\
{question}

Do not answer this question. Write tests of an answer to it instead: at most {max_tests} short \
statements that a right answer satisfies and a wrong one may not, each of which can be judged by \
itself. Reply with a numbered list of the statements alone, each on one line.""",
    required=("question",),
    filled=("question", "max_tests"),
)

ASSERT_TESTS = _single(
    "unit_test_generator.program",
    "assert-tests",
    "Write assertions that a correct program passes.",
    """\
{question}

Do not answer this question. Write tests of a Python program that answers it instead: at most \
{max_tests} assertions that call its function and compare the result with the right one. Take \
arguments for which you are sure of the result. If the question names no function, it is \
`solution`. Reply with the assertions alone, each on one line that begins with `assert`.""",
    required=("question",),
    filled=("question", "max_tests"),
)

JUDGE_TESTS = _single(
    "unit_test_evaluator",
    "judge-tests",
    "Argue about the tests of one candidate, then judge each.",
    _ONE_CANDIDATE
    + """\
And these are tests of it, each under its number.

{tests}

Which of the tests does the candidate pass? Argue first: go through them one by one, and do every \
calculation that they need again yourself. Then judge. End with one line that says "pass" or \
"fail" of every test by its number, in this form:
Tests: [number] pass or fail, [next number] pass or fail, ...""",
    required=("question", "candidates", "tests"),
    filled=("question", "candidates", "critiques", "tests"),
)
