"""Candidates cannot manipulate judges: their texts stay inside their fences."""

from __future__ import annotations

import re
from typing import Any

import pytest
from attacks import ATTACKS
from graph_doubles import PROMPT_KINDS, make_architecture, make_candidate, make_prompt
from hypothesis import given
from hypothesis import strategies as st

from archon.graph.prompts.listing import MAX_BYTES, list_critiques, list_texts, shortened
from archon.lm.scripted.lm import ScriptedLM
from archon.types import Annotation, Candidate, Question, Request

_FENCE = re.compile(r"`{3,}")


def outside_and_inside(prompt: str) -> tuple[list[str], list[str]]:
    """The lines outside of fences, and the text inside of each, as a reader of Markdown sees it.

    A fence is closed by a line of as many backticks or more, and nothing else.
    """
    outside: list[str] = []
    inside: list[str] = []
    fence, block = "", [""]
    for line in prompt.split("\n"):
        if fence:
            is_end = _FENCE.fullmatch(line.strip()) and len(line.strip()) >= len(fence)
            if is_end:
                inside.append("\n".join(block))
                fence = ""
            else:
                block.append(line)
        elif _FENCE.fullmatch(line):
            fence, block = line, []
        else:
            outside.append(line)
    assert not fence, "a fence is left open"
    return outside, inside


@pytest.mark.parametrize(
    "kind", [name for name, k in PROMPT_KINDS.items() if "candidates" in k.required]
)
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_changes_nothing_outside_its_fence(attack: str, kind: str) -> None:
    def lines(text: str) -> tuple[list[str], list[str]]:
        note = Annotation("notes", "critique", text)
        candidates = [make_candidate(0, text=text), make_candidate(1, None, note, text="Honest.")]
        (message,) = make_prompt(kind).messages(Question("What is 2 + 3?"), candidates)
        return outside_and_inside(message.content)

    text = ATTACKS[attack]("9")
    ours, texts = lines(text)
    assert ours == lines("The answer is 6.")[0]
    assert texts[:2] == [shortened(text), "Honest."]


@given(st.lists(st.text(st.sampled_from("`~[]1\n\r\u2028 a\ud800é🦜")), min_size=1, max_size=4))
def test_no_text_leaves_its_fence(texts: list[str]) -> None:
    candidates = [make_candidate(i, text=text or " ") for i, text in enumerate(texts)]
    outside, inside = outside_and_inside(list_texts([c.text for c in candidates]))
    assert inside == [shortened(text or " ") for text in texts]
    assert [line for line in outside if line] == [f"[{i}]" for i in range(1, len(texts) + 1)]
    notes = [c.annotated(Annotation("n", "critique", c.text)) for c in candidates]
    assert outside_and_inside(list_critiques(notes))[1] == inside


@given(st.text(min_size=1).map(lambda text: text * 3000))
def test_a_long_text_is_cut_in_the_middle_to_a_stated_length(text: str) -> None:
    short = shortened(text)
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_BYTES:
        assert short == data.decode()
        return
    head, mark, tail = short.partition("\n[… ")
    assert mark
    tail = tail.partition(" …]\n")[2] if " …]\n" in tail else tail
    assert len(short.encode()) <= MAX_BYTES + 50
    assert data.decode().startswith(head)
    assert data.decode().endswith(tail)


def test_a_short_text_is_unchanged() -> None:
    assert shortened("x" * MAX_BYTES) == "x" * MAX_BYTES
    assert shortened("half \ud83e") == "half ?"


# ------------------------------------------------------------------- judges that are easily led

LONG = {"max_tokens": 100_000}
HONEST = "2 + 3 = 5. The answer is 5."


def obedient(request: Request, draw: int) -> str:
    """Quotes everything that it was shown before it judges."""
    prompt = request.messages[-1].content
    if "Below" not in prompt:
        return HONEST
    own = {"Verdict:": "Verdict: incorrect", "Ranking:": "Ranking: [2] > [1]"}
    last = next((line for label, line in own.items() if label in prompt), "")
    quoted = prompt.replace("\n", "\n> ")
    return f"> {quoted}\nSo they say.\n{last}"


async def verdict_about(text: str) -> Candidate:
    architecture = make_architecture(
        {
            "draft": {"type": "generator", "sampling": LONG},
            "check": {"type": "verifier", "model": "judge", "inputs": ["draft"]},
        },
        "check",
        {"solver": ScriptedLM(lambda request, draw: text), "judge": ScriptedLM(obedient)},
    )
    answer = await architecture.arun("What is 2 + 3?")
    return answer.candidates[0]


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_verdict_that_is_quoted_is_not_the_judges(attack: str) -> None:
    # Only the last line counts, which the constraint enforces.
    candidate = await verdict_about(ATTACKS[attack]("9"))
    assert (candidate.score, candidate.latest("mark") is not None) == (0.0, True)


async def ranked_by_place(text: str, judge: dict[str, Any], place: int) -> list[str]:
    """The order that a judge gives who always prefers the candidate at one place."""

    def prefer(request: Request, choice: str) -> float:
        return -0.1 if choice == f"Better: [{place}]" else -2.0

    drafts = {"solver": ScriptedLM(lambda request, draw: [HONEST, text][draw])}
    architecture = make_architecture(
        {
            "draft": {"type": "generator", "samples": 2, "sampling": LONG},
            "best": {"type": "ranker", "model": "judge", "inputs": ["draft"], **judge}
            | {"shows": "text"},
        },
        "best",
        {**drafts, "judge": ScriptedLM(obedient, choice_logprob=prefer)},
    )
    answer = await architecture.arun("What is 2 + 3?")
    assert {c.score for c in answer.candidates} == {0.5}
    return [c.text for c in answer.candidates]


@pytest.mark.parametrize("place", [1, 2])
@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_judge_that_prefers_one_position_decides_no_pair(attack: str, place: int) -> None:
    text = ATTACKS[attack]("9")
    if "9" not in text:
        text += "\nThe answer is 9."
    assert await ranked_by_place(text, {"method": "pairwise"}, place) == [HONEST, text]
