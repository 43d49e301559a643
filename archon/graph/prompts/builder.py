"""``Prompt``, which builds the messages of a node's calls from its wording and worked examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from archon.answers.kinds import ANSWER_TYPES
from archon.answers.letters import with_options
from archon.errors import GraphError
from archon.graph.candidates import is_cut_off, reply_text
from archon.graph.exemplars import default_pool, load_pool
from archon.graph.prompts.calculations import has_steps, steps_of
from archon.graph.prompts.listing import list_critiques, list_texts
from archon.graph.prompts.templates import CONVERSATION, PromptKind
from archon.graph.prompts.wording import Wording
from archon.spec.architecture import Shows
from archon.spec.common import PromptSpec
from archon.spec.messages import shown, suggestion
from archon.types import AnswerKind, Candidate, CandidateId, Example, Message, Question, UnitTest

ANSWER_BYTES = 120
"""Maximum bytes that a program's result may add to a candidate's text; longer results are
omitted."""


class Prompt:
    """The prompt of a node.

    The messages are the question's history, the system message, the worked examples as turns of
    user and assistant, and the wording with its fields filled in, in this order.

    Parameters
    ----------
    spec
        The prompt as specified in a file. If it has neither ``template`` nor ``text``, the default
        template is used.
    kind
        The templates to choose from.
    reads_candidates
        True if the node has inputs.
    shows
        The part of a candidate that the prompt shows (``archon.spec.architecture.Shows``).
    base_dir
        The folder to which the path of an exemplar pool is relative.

    Raises
    ------
    GraphError
        The template does not exist or does not allow ``shots``; the custom text lacks a required
        field or has an unknown one; or the named pool has fewer examples than ``shots``.
    SpecError
        The named pool does not exist, or its file is invalid.
    """

    def __init__(
        self,
        spec: PromptSpec,
        kind: PromptKind,
        *,
        reads_candidates: bool,
        shows: Shows = "text",
        base_dir: Path | None = None,
    ) -> None:
        self._shows = shows
        self._text, self._shots = spec.text, spec.shots or 0
        for reason, _ in wording_errors(spec, kind, reads_candidates):
            raise GraphError(reason)
        name = spec.template or kind.default
        self._template = kind.templates[name] if spec.text is None else None
        self._system = () if spec.system is None else (Message("system", spec.system),)
        self._own_pool = None if spec.examples is None else load_pool(spec.examples, base_dir)
        self._puts_question = kind.puts_question
        self._example_wording = None if kind.puts_question else Wording("{question}")
        self._wordings: dict[tuple[AnswerKind, bool], Wording] = {}
        self._openings: dict[AnswerKind, tuple[tuple[Example, ...], tuple[Message, ...]]] = {}
        self.key = (self._template, spec.text, spec.system, self._shots, self._own_pool, shows)
        """Equal for two prompts if they produce the same messages."""
        self.asks_for_program = self._template is not None and self._template.asks_for_program
        """True if a reply is a program, whose value is unknown until it is run."""
        if self._shots and self.asks_for_program:
            reason = "it asks for a program, and worked examples are in prose"
            raise GraphError(f"the {shown(name)} template allows no shots, because {reason}")
        self.is_conversation = self._template is CONVERSATION
        """True if each candidate is rated as a reply to the messages that its writer read."""
        if self.is_conversation and (self._shots or self._system):
            reason = "the 'conversation' template allows neither shots nor a system message"
            raise GraphError(reason)
        if self._own_pool is not None:
            self.check_shots(None)

    def check_shots(
        self, examples: tuple[Example, ...] | None, answer: AnswerKind = "number"
    ) -> None:
        """Check that the pool has at least ``shots`` examples.

        ``examples`` is the benchmark's pool; it is used unless the prompt names a pool. If neither
        is given, the pool is the shipped one for the type of the answer.

        Raises
        ------
        GraphError
            The pool has too few examples. The error names both numbers.
        """
        pool = self._pool(examples, answer)
        if self._shots > len(pool):
            reason = f"{self._shots} shots are requested, but the pool has {len(pool)} examples"
            raise GraphError(reason)

    def specification(
        self, answer: AnswerKind, examples: tuple[Example, ...] | None, ending: bool = True
    ) -> dict[str, Any]:
        """Return the wording, and the messages that precede the question, as plain data.

        ``ending`` is the question's (``Question.ending``).
        """
        opening = self._opening(Question("", answer=answer, examples=examples, ending=ending))
        return {
            "opening": [[message.role, message.content] for message in opening],
            "text": self._text_for(answer, ending),
        }

    def shows_candidates(self, answer: AnswerKind) -> bool:
        """Return True if the wording has a field for the candidates."""
        return "candidates" in self._wording(answer).fields

    def judged(self, question: Question, candidates: Sequence[Candidate]) -> frozenset[CandidateId]:
        """Return the ids of the candidates that a model judges; all other candidates rank last.

        A candidate is not judged if its reasoning was cut off, or if it lacks a value that this
        type of answer needs. If the prompt shows candidates' steps, candidates without steps are
        not judged either, unless no candidate has steps. A candidate therefore gains nothing by
        omitting its steps.
        """
        if not ANSWER_TYPES[question.answer].needs_value:
            return frozenset(c.id for c in candidates if not is_cut_off(c))
        answering = [candidate for candidate in candidates if candidate.value is not None]
        working = [c for c in answering if has_steps(c)] if self._sees_steps(question) else []
        return frozenset(candidate.id for candidate in working or answering)

    def messages(
        self,
        question: Question,
        candidates: Sequence[Candidate] = (),
        use_critiques: bool | None = None,
        *,
        tests: Sequence[UnitTest] = (),
        max_tests: int = 0,
    ) -> tuple[Message, ...]:
        """Return the messages of a call.

        Parameters
        ----------
        use_critiques
            If False, the candidates' critiques are omitted; None and True include them.
        tests
            Unit tests by which the model judges a candidate.
        max_tests
            Maximum number of unit tests that the model is asked to write.
        """
        wording = self._wording(question.answer, question.ending)
        asks = with_options(question.text, question.choices)
        values = {"question": asks, "max_tests": str(max_tests)}
        if "candidates" in wording.fields:
            texts = (self._shown(candidate, question) for candidate in candidates)
            values["candidates"] = list_texts(texts)
        if "critiques" in wording.fields:
            values["critiques"] = "" if use_critiques is False else list_critiques(candidates)
        if "tests" in wording.fields:
            values["tests"] = list_texts(test.text for test in tests)
        asked = Message("user", wording.fill(values))
        return (*question.history, *self._opening(question), asked)

    def _sees_steps(self, question: Question) -> bool:
        return self._shows == "steps" and ANSWER_TYPES[question.answer].is_number

    def _shown(self, candidate: Candidate, question: Question) -> str:
        if is_cut_off(candidate):
            return "No answer is given."
        if self._sees_steps(question):
            return steps_of(candidate)
        text = reply_text(candidate, question)
        is_short = len(text.encode()) <= len(candidate.text.encode()) + ANSWER_BYTES
        return text if is_short else candidate.text

    def _wording(self, answer: AnswerKind, ending: bool = True) -> Wording:
        wording = self._wordings.get((answer, ending))
        if wording is None:
            wording = Wording(self._text_for(answer, ending))
            self._wordings[answer, ending] = wording
        return wording

    def _text_for(self, answer: AnswerKind, ending: bool) -> str:
        """Return the wording before its fields are filled in.

        The templates for questions ask for a way of working, or for the answer alone. Neither fits
        a question to which the complete reply is the answer.
        """
        if self._template is None:
            return self._text or ""
        if self._puts_question and not ending and not self.asks_for_program:
            return "{question}"
        return self._template.wording(answer, ending)

    def _pool(
        self, examples: tuple[Example, ...] | None, answer: AnswerKind
    ) -> tuple[Example, ...]:
        if self._own_pool is not None:
            return self._own_pool
        return default_pool(answer) if examples is None else examples

    def _opening(self, question: Question) -> tuple[Message, ...]:
        """Return the system message and the worked examples.

        They are cached, so that all questions with one pool share the same message objects. The
        examples show how to end a reply, so that questions without an ending have none.
        """
        if not self._shots or not question.ending:
            return self._system
        pool = self._pool(question.examples, question.answer)
        known = self._openings.get(question.answer)
        if known is None or known[0] is not pool:
            self.check_shots(question.examples, question.answer)
            examples = pool[: self._shots]
            turns = (turn for e in examples for turn in self._turns(e, question.answer))
            known = self._openings[question.answer] = (pool, (*self._system, *turns))
        return known[1]

    def _turns(self, example: Example, answer: AnswerKind) -> tuple[Message, Message]:
        wording = self._example_wording or self._wording(answer)
        if self._template:
            reply = self._template.reply(example, answer)
        else:
            reply = ANSWER_TYPES[answer].reply(example.answer, example.reasoning)
        asked = wording.fill({"question": example.question, "candidates": "", "critiques": ""})
        return Message("user", asked), Message("assistant", reply)


def wording_errors(
    spec: PromptSpec, kind: PromptKind, reads_candidates: bool
) -> Iterator[tuple[str, str]]:
    """Yield (reason, key) for each error in the ``template`` or ``text`` of a prompt."""
    if spec.template is not None and spec.template not in kind.templates:
        hint = suggestion(spec.template, kind.templates)
        yield f"there is no template {shown(spec.template)} for a {kind.title}{hint}", "template"
    if spec.text is None:
        return
    fields, usable = Wording(spec.text).fields, kind.placeholders(reads_candidates)
    for field in kind.required:
        if field not in fields:
            yield f"the text does not contain {{{field}}}", "text"
    for field in sorted(fields.difference(usable)):
        reason = f"the field {{{shown(field)[1:-1]}}} is not available here"
        reason += suggestion(field, usable)
        yield f"{reason} (write {{{{ and }}}} for literal braces)", "text"
