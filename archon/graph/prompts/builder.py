"""The prompt of a node: its wording and worked examples, turned into messages for each call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from archon.errors import GraphError
from archon.graph.candidates import is_cut_off, reply_text
from archon.graph.exemplars import default_pool, load_pool
from archon.graph.prompts.calculations import has_steps, steps_of
from archon.graph.prompts.listing import list_critiques, list_texts
from archon.graph.prompts.templates import CONVERSATION, WORKED_REPLY, PromptKind, Template
from archon.graph.prompts.wording import Wording
from archon.spec.architecture import Shows
from archon.spec.common import PromptSpec
from archon.spec.messages import shown, suggestion
from archon.types import AnswerKind, Candidate, CandidateId, Example, Message, Question, UnitTest

ANSWER_BYTES = 120
"""What a program's result may add to its text; a longer one is not shown."""


class Prompt:
    """How one node asks its model.

    Messages are, in this order: the question's history, the system message, the worked examples
    as turns of user and assistant, and the wording with its fields filled in. All but the first
    and the last are made once, so that nodes with equal prompts share them as a prefix.

    Parameters
    ----------
    spec
        The wording; without ``template`` and ``text``, the default template of the kind.
    kind
        Whose templates ``template`` names.
    reads_candidates
        Whether the node has inputs.
    shows
        What the node's model sees of a candidate (``archon.spec.architecture.Shows``).
    base_dir
        Where the path of an exemplar pool starts.

    Raises
    ------
    GraphError
        There is no such template, or the user's text lacks a field that the node needs or has one
        that nothing fills, or there are more shots than the named pool has examples, or the
        template takes none.
    SpecError
        There is no such pool.
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
        self._template = None if spec.text is not None else _template(spec.template, kind)
        self._system = () if spec.system is None else (Message("system", spec.system),)
        self._own_pool = None if spec.examples is None else load_pool(spec.examples, base_dir)
        self._example_wording = None if kind.puts_question else Wording("{question}")
        self._wordings: dict[AnswerKind, Wording] = {}
        self._openings: dict[AnswerKind, tuple[tuple[Example, ...], tuple[Message, ...]]] = {}
        self.key = (self._template, spec.text, spec.system, self._shots, self._own_pool, shows)
        """Equal for prompts that say the same."""
        self.asks_for_program = self._template is not None and self._template.asks_for_program
        """Whether a reply is a program, whose value is known only once it has run."""
        if self._shots and self.asks_for_program:
            reason = f"the template {shown(spec.template or '')} takes no shots: worked examples"
            raise GraphError(f"{reason} argue in prose, and it asks for a program")
        self.is_conversation = self._template is CONVERSATION
        """Whether each candidate stands behind the messages that its own writer read."""
        if self.is_conversation and (self._shots or self._system):
            raise GraphError("the template 'conversation' takes no shots and no system message")
        if spec.text is not None:
            _check_fields(Wording(spec.text), kind, reads_candidates)
        if self._own_pool is not None:
            self.check_shots(None)

    def check_shots(self, examples: tuple[Example, ...] | None) -> None:
        """Refuse more shots than there are examples; ``examples`` is the benchmark's pool, if any.

        Raises
        ------
        GraphError
            Names both numbers.
        """
        pool = self._pool(examples)
        if self._shots > len(pool):
            reason = f"{self._shots} shots are asked for, but the pool has {len(pool)} examples"
            raise GraphError(reason)

    def specification(
        self, answer: AnswerKind, examples: tuple[Example, ...] | None
    ) -> dict[str, Any]:
        """The words that come before and around the question, as plain data."""
        opening = self._opening(Question("", answer=answer, examples=examples))
        return {
            "opening": [[message.role, message.content] for message in opening],
            "text": self._template.wording(answer) if self._template else self._text,
        }

    def shows_candidates(self, answer: AnswerKind) -> bool:
        """Whether the wording has a place for the candidates."""
        return "candidates" in self._wording(answer).fields

    def judged(self, question: Question, candidates: Sequence[Candidate]) -> frozenset[CandidateId]:
        """The candidates that a judge is asked about; the others stand behind them, unasked.

        One that ended within its reasoning shows nothing. Where a number is asked for, a candidate
        has to state one. Shown by their steps, those that
        show any are judged, so that nothing is gained by showing none; if none does, all are.
        """
        if question.answer != "number":
            return frozenset(c.id for c in candidates if not is_cut_off(c))
        answering = [candidate for candidate in candidates if candidate.value is not None]
        working = [c for c in answering if has_steps(c)] if self._shows == "steps" else []
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
        """What the node asks; critiques are left out only where ``use_critiques`` is False.

        ``tests`` are those that candidates are judged by, ``max_tests`` how many may be written.
        """
        wording = self._wording(question.answer)
        values = {"question": question.text, "max_tests": str(max_tests)}
        if "candidates" in wording.fields:
            texts = (self._shown(candidate, question.answer) for candidate in candidates)
            values["candidates"] = list_texts(texts)
        if "critiques" in wording.fields:
            values["critiques"] = "" if use_critiques is False else list_critiques(candidates)
        if "tests" in wording.fields:
            values["tests"] = list_texts(test.text for test in tests)
        asked = Message("user", wording.fill(values))
        return (*question.history, *self._opening(question), asked)

    def _shown(self, candidate: Candidate, answer: AnswerKind) -> str:
        if is_cut_off(candidate):
            return "No answer is given."
        if self._shows == "steps" and answer == "number":
            return steps_of(candidate)
        whole = reply_text(candidate, answer)
        is_short = len(whole.encode()) <= len(candidate.text.encode()) + ANSWER_BYTES
        return whole if is_short else candidate.text

    def _wording(self, answer: AnswerKind) -> Wording:
        wording = self._wordings.get(answer)
        if wording is None:
            text = self._template.wording(answer) if self._template else self._text or ""
            wording = self._wordings[answer] = Wording(text)
        return wording

    def _pool(self, examples: tuple[Example, ...] | None) -> tuple[Example, ...]:
        if self._own_pool is not None:
            return self._own_pool
        return default_pool() if examples is None else examples

    def _opening(self, question: Question) -> tuple[Message, ...]:
        """System message and worked examples; kept for as long as questions bring one pool."""
        if not self._shots:
            return self._system
        pool = self._pool(question.examples)
        known = self._openings.get(question.answer)
        if known is None or known[0] is not pool:
            self.check_shots(question.examples)
            examples = pool[: self._shots]
            turns = (turn for e in examples for turn in self._turns(e, question.answer))
            known = self._openings[question.answer] = (pool, (*self._system, *turns))
        return known[1]

    def _turns(self, example: Example, answer: AnswerKind) -> tuple[Message, Message]:
        wording = self._example_wording or self._wording(answer)
        form = self._template.reply(answer) if self._template else WORKED_REPLY[answer]
        asked = wording.fill({"question": example.question, "candidates": "", "critiques": ""})
        answered = {"reasoning": example.reasoning, "answer": example.answer}
        reply = Wording(form).fill(answered).strip()
        return Message("user", asked), Message("assistant", reply)


def _template(name: str | None, kind: PromptKind) -> Template:
    name = kind.default if name is None else name
    if name not in kind.templates:
        hint = suggestion(name, kind.templates)
        raise GraphError(f"a {kind.title} has no prompt template {shown(name)}{hint}")
    return kind.templates[name]


def _check_fields(wording: Wording, kind: PromptKind, reads_candidates: bool) -> None:
    for field in kind.required:
        if field not in wording.fields:
            raise GraphError(f"the text of a {kind.title} needs the field {{{field}}}")
    usable = kind.placeholders(reads_candidates)
    for field in sorted(wording.fields.difference(usable)):
        hint = suggestion(field, usable)
        reason = f"nothing fills the field {{{shown(field)[1:-1]}}} of the text{hint}"
        raise GraphError(f"{reason} ({{{{ and }}}} stand for braces themselves)")
