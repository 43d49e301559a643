"""Separation of reasoning and answer, in complete texts and in streams."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.reasoning import (
    PUBLISHED_MARKERS,
    Part,
    ReasoningMarkers,
    ReasoningStream,
    split_reasoning,
)

MARKERS = pytest.mark.parametrize("markers", PUBLISHED_MARKERS, ids=lambda m: m.end)
OWN = (ReasoningMarkers("<scratch>", "<done>"), ReasoningMarkers("=a", "=ab"))
"""One marker is the beginning of another."""

words = st.sampled_from(["a", "12 ", " ", "\n", "\n\n", "<", "<th", "</", "=", "b", "answer: 5"])
texts = st.lists(
    st.one_of(
        words,
        st.sampled_from([m.start for m in PUBLISHED_MARKERS + OWN]),
        st.sampled_from([m.end for m in PUBLISHED_MARKERS + OWN]),
        st.sampled_from(["<|message|>", "<|START_RESPONSE|>", "<Think>", "</THINK>"]),
        st.sampled_from(["<s>", "> ", "\ufeff", ">", "<|start|>assistant"]),
        st.just("[BEGIN FINAL RESPONSE]"),
    ),
    max_size=8,
).map("".join)
plain_texts = st.lists(words, max_size=8).map("".join)


def streamed(text: str, cuts: list[int], **how: object) -> list[Part]:
    """The parts of a text that arrives in pieces."""
    stream = ReasoningStream(**how)  # type: ignore[arg-type]
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    parts = [part for start, stop in pairwise(places) for part in stream.feed(text[start:stop])]
    return parts + stream.finish()


def joined(parts: list[Part], *, is_reasoning: bool) -> str:
    return "".join(part.text for part in parts if part.is_reasoning == is_reasoning)


@MARKERS
def test_the_answer_begins_after_the_end_marker(markers: ReasoningMarkers) -> None:
    text = f"{markers.start}\nThe answer is 3.\n{markers.end}{markers.lead}\n\nIt is 4."
    reply = split_reasoning(text)
    assert (reply.answer, reply.is_cut_off) == ("It is 4.", False)
    assert reply.reasoning + reply.answer == text


@MARKERS
def test_the_start_marker_may_be_in_the_prompt(markers: ReasoningMarkers) -> None:
    reply = split_reasoning(f"The answer is 3.\n{markers.end}4")
    assert (reply.answer, reply.is_cut_off) == ("4", False)


@MARKERS
def test_reasoning_without_an_end_has_no_answer(markers: ReasoningMarkers) -> None:
    text = f"{markers.start}\nThe answer is 3."
    for reply in (split_reasoning(text), split_reasoning("The answer is 3.", is_open=True)):
        assert (reply.answer, reply.is_cut_off) == ("", True)
    again = f"{markers.start}3?{markers.end}\n{markers.start}No, the answer is 4"
    assert split_reasoning(again).is_cut_off


@pytest.mark.parametrize(
    "text",
    [
        "<|start|>assistant<|channel|>analysis<|message|>So the answer is 12",
        "<|channel|>commentary<|message|>So the answer is 12",
        "<|start|>assistant<|channel|>commentary<|message|>So the answer is 12",
        "\ufeff<think>So the answer is 12",
        "<s><think>So the answer is 12",
        "<s> [THINK]So the answer is 12",
        "> <think>\n> So the answer is 12",
        "12?\n> <think>No",
        "<Think>So the answer is 12",
        "<THINK>So the answer is 12",
        "[think]So the answer is 12",
        "<|begin_of_thought|>So the answer is 12",
        "<longcat_think>So the answer is 12",
        "<unused94>thought\nSo the answer is 12",
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_spellings_of_the_start_marker_are_recognized(text: str, size: int) -> None:
    reply = split_reasoning(text)
    assert (reply.answer, reply.is_cut_off) == ("", True)
    parts = streamed(text, [*range(0, len(text), size)])
    assert joined(parts, is_reasoning=False) in ("", "12?\n")


@pytest.mark.parametrize(
    "text",
    [
        "<Think>12?</THINK>It is 4.",
        "<s><think>12?</think>It is 4.",
        "<|start|>assistant<|channel|>commentary<|message|>12?"
        "<|end|><|start|>assistant<|channel|>final<|message|>It is 4.",
        "<|begin_of_thought|>12?<|end_of_thought|>\n<|begin_of_solution|>It is 4.",
        "12?\n[BEGIN FINAL RESPONSE]\nIt is 4.",
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_spellings_of_the_end_marker_are_recognized(text: str, size: int) -> None:
    assert split_reasoning(text).answer == "It is 4."
    is_open = text.startswith("12")
    parts = streamed(text, [*range(0, len(text), size)], is_open=is_open)
    assert joined(parts, is_reasoning=False) == "It is 4."


@pytest.mark.parametrize(
    "text", ["> quoted\n>> twice\n<s>struck</s>", ">>>> <think>", "a <think> b", ">\n\n> 4"]
)
def test_a_lead_in_without_a_start_marker_is_the_answer(text: str) -> None:
    assert split_reasoning(text).answer == text
    assert joined(streamed(text, [*range(len(text))]), is_reasoning=False) == text


@MARKERS
def test_the_inserted_text_ends_reasoning(markers: ReasoningMarkers) -> None:
    reply = split_reasoning(f"{markers.start}1, 2, {markers.inserted}4")
    assert (reply.answer, reply.is_cut_off) == ("4", False)


@pytest.mark.parametrize("text", ["18", "", "  18\n", "a < b and b > c", "The <b>answer</b> is 5."])
def test_text_without_markers_is_the_unchanged_answer(text: str) -> None:
    reply = split_reasoning(text)
    assert (reply.reasoning, reply.answer, reply.is_cut_off) == ("", text, False)


def test_a_card_s_markers_replace_the_published_ones() -> None:
    text = "<scratch>3?<done>The tag </think> is not ours: 4"
    assert split_reasoning(text, OWN).answer == "The tag </think> is not ours: 4"


def test_with_an_empty_start_marker_every_reply_begins_within_reasoning() -> None:
    markers = [ReasoningMarkers("", "<done>")]
    assert split_reasoning("3? 4", markers).is_cut_off
    assert split_reasoning("3?<done>4", markers).answer == "4"
    parts = streamed("3?<done>4", [4], markers=markers)
    assert joined(parts, is_reasoning=False) == "4"


@given(texts, st.booleans())
def test_the_parts_concatenate_to_the_text(text: str, is_open: bool) -> None:
    reply = split_reasoning(text, is_open=is_open)
    assert reply.reasoning + reply.answer == text


@given(texts)
def test_an_answer_contains_no_reasoning(text: str) -> None:
    answer = split_reasoning(text).answer
    assert split_reasoning(answer).answer == answer


@given(
    texts, st.lists(st.integers(0, 60)), st.booleans(), st.sampled_from([PUBLISHED_MARKERS, OWN])
)
def test_a_stream_is_split_like_the_complete_text(
    text: str, cuts: list[int], is_open: bool, markers: tuple[ReasoningMarkers, ...]
) -> None:
    parts = streamed(text, cuts, markers=markers, is_open=is_open)
    assert "".join(part.text for part in parts) == text
    kinds = [part.is_reasoning for part in parts]
    if kinds == sorted(kinds, reverse=True):  # no answer had to be passed on before reasoning
        reply = split_reasoning(text, markers, is_open=is_open)
        assert joined(parts, is_reasoning=False) == reply.answer
        assert joined(parts, is_reasoning=True) == reply.reasoning


@given(plain_texts, plain_texts, st.lists(st.integers(0, 60)), st.sampled_from(PUBLISHED_MARKERS))
def test_a_stream_that_begins_with_reasoning_is_split_exactly(
    reasoning: str, answer: str, cuts: list[int], markers: ReasoningMarkers
) -> None:
    for text, is_open in (
        (f"\n{markers.start}{reasoning}{markers.end}{markers.lead}{answer}", False),
        (f"{reasoning}{markers.end}{markers.lead}{answer}", True),
    ):
        parts = streamed(text, cuts, is_open=is_open)
        assert joined(parts, is_reasoning=False) == answer.lstrip()


@given(plain_texts, st.lists(st.integers(0, 60)))
def test_a_stream_without_markers_is_all_answer(text: str, cuts: list[int]) -> None:
    assert joined(streamed(text, cuts), is_reasoning=False) == text


def test_a_text_in_one_piece_is_split_even_without_a_start_marker() -> None:
    """The text comes from a server that does not stream, for example, or from a pool."""
    parts = streamed("First guess: 4.\n</think>\n\nIt is 5.", [])
    assert parts == [Part("First guess: 4.\n</think>\n\n", True), Part("It is 5.", False)]
