"""Every type of answer: declaration, prompts, shipped architectures, votes and notes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, get_args

import pytest
from graph_doubles import FakeContext, make_candidate, make_prompt

import archon
from archon.answers import read_answer
from archon.answers.kinds import ANSWER_TYPES
from archon.answers.readers import READERS
from archon.errors import UsageError
from archon.graph.candidates import PROGRAM_MARK, reply_text
from archon.graph.nodes.vote import MeaningVote, Vote
from archon.graph.notes import advice
from archon.lm.scripted.heuristic import HeuristicScript
from archon.lm.scripted.lm import SCRIPTED_CAPABILITIES, ScriptedLM
from archon.spec import catalog
from archon.spec.reader import load_architecture
from archon.types import Annotation, AnswerKind, Question, Request

KINDS: tuple[AnswerKind, ...] = get_args(AnswerKind)
OPTIONS = ("390", "395", "41", "400")
VALUES = {"choice": "Paris", "math": "x^2+1", "json": '{"a":[1,2]}'}
"""Values that are not numbers."""
SPECIAL = {
    "adapted-vote",
    "reinforced-vote",
    "reward-vote",
    "specialist-first",
    "translate-numbers",
}
"""Architectures with models that are trained for one use."""


def test_every_type_is_declared_and_can_be_read() -> None:
    assert tuple(ANSWER_TYPES) == tuple(READERS) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_in_the_declared_format_is_read(kind: AnswerKind) -> None:
    value = VALUES.get(kind, "42")
    choices = ("Rome", value) if ANSWER_TYPES[kind].has_options else ()
    stated = "B" if choices else value
    reply = ANSWER_TYPES[kind].reply(stated, "First, 2 + 3 = 5.")
    assert read_answer(reply, kind, choices=choices) == value
    assert ANSWER_TYPES[kind].reply(stated) == reply.partition("5.")[2].strip()


@pytest.mark.parametrize("name", sorted({*catalog.names("architecture")} - SPECIAL))
async def test_the_shipped_architectures_answer_every_type(name: str) -> None:
    lm = ScriptedLM(HeuristicScript(1.0), capabilities=SCRIPTED_CAPABILITIES)
    models = dict.fromkeys(load_architecture(name).spec.models, lm)
    architecture = archon.load(name, models=models)
    values = {}
    for kind in KINDS:
        choices = OPTIONS if kind == "choice" else ()
        asked = Question("What is 17 * 23 + 4?", answer=kind, choices=choices)
        values[kind] = (await architecture.arun(asked)).value
    assert values.pop("code")  # any text, because the scripted model writes no code for it
    assert set(values.values()) == {"395"}


# ------------------------------------------------------------------------------------- prompts


@pytest.mark.parametrize("kind", ["generator", "fuser", "ranker", "verifier"])
def test_options_are_shown_below_the_question(kind: str) -> None:
    asked = Question("Which city?", answer="choice", choices=("Rome", "Paris"))
    text = make_prompt(kind).messages(asked, [make_candidate(0, "Paris", text="B")])[-1].content
    assert "Which city?\n\nA. Rome\nB. Paris\n" in text


def test_more_options_than_letters_are_refused() -> None:
    asked = Question("Which?", answer="choice", choices=tuple(map(str, range(27))))
    with pytest.raises(UsageError, match="26 options, not 27"):
        make_prompt("generator").messages(asked)


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_end_with_the_type_s_instruction(kind: AnswerKind) -> None:
    text = make_prompt("generator", template="concise").messages(Question("q", answer=kind))
    assert text[-1].content.endswith(ANSWER_TYPES[kind].ending)


def test_the_wording_for_numbers_texts_and_code_has_not_changed() -> None:
    program = make_prompt("generator", template="program")
    texts = [program.messages(Question("q", answer=k))[-1].content for k in KINDS if k != "choice"]
    assert set(texts) == {
        "q\n\nWrite a Python function `solution()` that works out and returns the answer to this "
        "question. Calculate each step in code. Reply with the code alone."
    }
    endings = {kind: ANSWER_TYPES[kind].ending for kind in ("number", "text", "code")}
    assert endings == {
        "number": 'End with "The answer is N.", where N is the final number alone.',
        "text": 'End with "The answer is X.", where X is the final answer alone.',
        "code": "End with the whole program in one ```python block.",
    }


@pytest.mark.parametrize(
    ("kind", "value", "stated"),
    [
        ("number", "7", "The answer is 7."),
        ("choice", "Paris", "The answer is (B)."),
        ("math", "x^2", r"The answer is $\boxed{x^2}$."),
        ("json", "[1]", "```json\n[1]\n```"),
    ],
)
def test_a_program_s_result_is_shown_as_the_type_is_stated(
    kind: AnswerKind, value: str, stated: str
) -> None:
    ran = make_candidate(0, value, Annotation("ran", "mark", f"{PROGRAM_MARK}ok"), text="code")
    choices = ("Rome", "Paris") if kind == "choice" else ()
    assert reply_text(ran, Question("", answer=kind, choices=choices)) == f"code\n\n{stated}"


@pytest.mark.parametrize("kind", KINDS)
def test_replies_without_a_needed_value_are_not_judged(kind: AnswerKind) -> None:
    candidates = [make_candidate(0, None), make_candidate(1, VALUES.get(kind, "4"))]
    judged = make_prompt("verifier").judged(Question("", answer=kind), candidates)
    assert len(judged) == (1 if ANSWER_TYPES[kind].needs_value else 2)


async def test_a_nested_architecture_sees_the_options_too() -> None:
    inner = archon.load("self-consistency", models={"solver": ScriptedLM(HeuristicScript(1.0))})
    nodes = {"draft": {"type": "generator", "model": "inner", "samples": 2}}
    data = {"version": 1, "name": "outer", "nodes": nodes, "output": "draft"}
    outer = archon.load(
        {**data, "models": {"inner": "scripted"}}, models={"inner": archon.lm(inner)}
    )
    asked = Question("What is 17 * 23 + 4?", answer="choice", choices=OPTIONS)
    answer = await outer.arun(asked)
    assert answer.value == "395"
    assert "The answer is (B)." in answer.text
    assert "B. 395" in answer.trace.to_json()["question"]["text"]


# --------------------------------------------------------------------------------------- votes


def context(kind: AnswerKind) -> FakeContext:
    fake = FakeContext()
    fake.question = Question("", answer=kind)
    return fake


@pytest.mark.skipif(find_spec("math_verify") is None, reason="needs math-verify")
async def test_a_vote_on_expressions_groups_the_equivalent_ones() -> None:
    values = ["y", "x+1", "1+x", None, "y+1"]
    candidates = [make_candidate(i, value) for i, value in enumerate(values)]
    voted = await Vote("answer").run(context("math"), candidates)
    assert [(c.value, c.score) for c in voted] == [("x+1", 2), ("y", 1), ("y+1", 1)]
    as_text = await Vote("answer").run(context("text"), candidates)
    assert len(as_text) == 4


class AllAlike:
    async def embed(self, texts: Any) -> list[list[float]]:
        return [[1.0] for _ in texts]


@pytest.mark.parametrize("kind", KINDS)
async def test_only_texts_are_grouped_by_meaning(kind: AnswerKind) -> None:
    candidates = [make_candidate(i, value) for i, value in enumerate(["12", "13", "12"])]
    vote = MeaningVote("answer", AllAlike(), None, lambda candidate: 1.0)
    voted = await vote.run(context(kind), candidates)
    assert [c.score for c in voted] == ([3] if kind == "text" else [2, 1])


# --------------------------------------------------------------------------------------- notes


def asked(kind: AnswerKind, reply: str, **node: Any) -> archon.Answer:
    def script(request: Request, sample: int) -> str:
        return reply

    draft = {"type": "generator", "model": "s"}
    nodes = {"draft": draft, "end": {"inputs": ["draft"], **node}}
    data = {"version": 1, "name": "x", "models": {"s": "scripted"}, "nodes": nodes, "output": "end"}
    models = {"s": ScriptedLM(script)}
    return archon.load(data, models=models).run(Question("Which city?", answer=kind))


def test_a_question_without_a_number_explains_what_to_change() -> None:
    answer = asked("number", "Paris.", type="vote")
    assert answer.notes[0] == "no candidate states a number; returning the first"
    assert "the answer states no number; if the question asks for something else" in answer.notes[1]
    assert "--answer" in answer.notes[1]
    assert asked("text", "Paris.", type="vote").notes == ()
    assert advice(None, "code") is None


@pytest.mark.parametrize("kind", KINDS)
def test_nodes_that_only_check_calculations_say_so(kind: AnswerKind) -> None:
    answer = asked(kind, "The answer is (B), 5, `x`, [1].", type="verifier", method="equations")
    notes = [note for note in answer.notes if "'end'" in note]
    assert len(notes) == (kind in ("text", "code", "json"))
    assert all('set its "method" to "reason"' in note for note in notes)
