from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.graph.judge_output import read_critiques, read_ranking, read_verdict

# ---------------------------------------------------------------------------------- rankings


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("[2] > [1] > [3]", [1, 0, 2]),
        ("[3]>[1]>[2]", [2, 0, 1]),
        ("At first [1] > [2], but no.\nFinal ranking: [2] > [3] > [1]", [1, 2, 0]),
        ("**[2] > [1] > [3]**", [1, 0, 2]),
        ("[2] = [3] > [1]", [1, 2, 0]),
        ("Ranking: 2 > 3 > 1", [1, 2, 0]),
        ("2 > 3 > 1.", [1, 2, 0]),
        ("Best first:\n[3], [1], [2]", [2, 0, 1]),
        ("Ranking: [3], [1], [2]", [2, 0, 1]),
        ("1. [2]\n2. [3]\n3. [1]", [1, 2, 0]),
        ("1. **[2]** is sound\n2. [1] slips", [1, 0, 2]),
        ("3, 1, 2", [2, 0, 1]),
        ("2", [1, 0, 2]),
        ("The best is below.\n[3]", [2, 0, 1]),
    ],
)
def test_ranking_is_read_in_common_forms(text: str, order: list[int]) -> None:
    assert read_ranking(text, 3) == order


def test_unmentioned_candidates_follow_in_their_original_order() -> None:
    assert read_ranking("[4] > [2]", 5) == [3, 1, 0, 2, 4]


def test_unknown_numbers_and_repetitions_are_ignored() -> None:
    assert read_ranking("[9] > [2] > [0] > [2] > [1]", 3) == [1, 0, 2]


@pytest.mark.parametrize(
    "text",
    ["", ":", "All are equally good.", "17 is more than 3, so 17 > 3 holds here.", "[7] > [8]"],
)
def test_a_text_without_a_ranking_yields_none(text: str) -> None:
    assert read_ranking(text, 3) is None


def test_calculations_are_not_a_ranking() -> None:
    assert read_ranking("[1] says 3 + 4 = 7, and [2] says 2 > 1 is wrong", 2) is None


def test_ranking_of_200_candidates() -> None:
    order = list(range(199, -1, -1))
    text = " > ".join(f"[{i + 1}]" for i in order)
    assert read_ranking(text, 200) == order


@given(st.permutations(range(12)))
def test_every_order_is_read_back(order: list[int]) -> None:
    assert read_ranking("So: " + " > ".join(f"[{i + 1}]" for i in order), 12) == order


# ----------------------------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("2 + 3 = 5.\nVerdict: correct", "pass"),
        ("Verdict: incorrect", "fail"),
        ("**Verdict:** Correct.", "pass"),
        ('My verdict is "wrong"', "fail"),
        ("Verdict: not correct", "fail"),
        ("VERDICT - PASS", "pass"),
        ("Verdict: correct\nWait.\nVerdict: incorrect", "fail"),
        ("Verdict: unsure", "abstain"),
        ("It adds up.\nCorrect.", "pass"),
        ("It does not add up.\nNo", "fail"),
        ("Therefore the candidate's answer is correct, as shown.", "pass"),
        ("So the answer is not correct.", "fail"),
        ("Candidate 1 is wrong because 2 + 3 is 5.", "fail"),
        ("", "abstain"),
        (":", "abstain"),
        ("Thought process:", "abstain"),
        ("The correct result would be 5.", "abstain"),
        ("Let me see whether the answer is correct.", "abstain"),
        ("Verdict: no mistakes were found", "abstain"),
        ("Verdict: 5", "abstain"),
    ],
)
def test_verdict_is_read_or_abstained_from(text: str, verdict: str) -> None:
    assert read_verdict(text) == verdict


# ---------------------------------------------------------------------------------- critiques


@pytest.mark.parametrize(
    "text",
    [
        "[1] Clear.\nBut slow.\n[2] Wrong sum.",
        "Here it is.\n**[1]** Clear.\nBut slow.\n\n**[2]** Wrong sum.",
        "### Candidate 1:\nClear.\nBut slow.\n### Candidate 2:\nWrong sum.",
        "Answer 1: Clear.\nBut slow.\nAnswer 2: Wrong sum.",
        "1. Clear.\nBut slow.\n2. Wrong sum.",
    ],
)
def test_critiques_are_divided_among_candidates(text: str) -> None:
    assert read_critiques(text, 2) == {0: "Clear.\nBut slow.", 1: "Wrong sum."}


def test_numbered_points_inside_a_part_do_not_divide_it() -> None:
    text = "[1]\n1. Clear.\n2. Short.\n[2]\n1. Wrong."
    assert read_critiques(text, 2) == {0: "1. Clear.\n2. Short.", 1: "1. Wrong."}


def test_several_parts_about_one_candidate_are_joined() -> None:
    assert read_critiques("[1] good\n[2] bad\n[1] slow", 2) == {0: "good\nslow", 1: "bad"}


def test_an_unmentioned_candidate_has_no_critique() -> None:
    assert read_critiques("[2] bad\n[7] none such\n[1]", 3) == {1: "bad"}


@pytest.mark.parametrize("text", ["", "All of them are fine.", "[9] who?"])
def test_a_text_that_cannot_be_divided_has_no_parts(text: str) -> None:
    assert read_critiques(text, 3) == {}


def test_critiques_of_200_candidates() -> None:
    text = "\n".join(f"[{i}] remark {i}" for i in range(1, 201))
    assert read_critiques(text, 200) == {i: f"remark {i + 1}" for i in range(200)}


# ------------------------------------------------------------------------------ hostile texts


@pytest.mark.parametrize(
    "piece",
    [
        "[1] ",
        "[1]",
        "1 > ",
        "1>2\n",
        "-",
        "*",
        " ",
        "\n",
        ": ",
        "verdict ",
        "verdict:",
        "not ",
        "9",
    ],
)
def test_reading_takes_linear_time(piece: str) -> None:
    text = piece * 100_000
    start = time.process_time()
    read_ranking(text, 5)
    read_verdict(text)
    read_critiques(text, 5)
    assert time.process_time() - start < 2


@given(st.text("[]123> =.,:*-\n\tverdictcorrectnot#", max_size=200), st.integers(1, 5))
def test_every_text_has_a_valid_result(text: str, count: int) -> None:
    order = read_ranking(text, count)
    assert order is None or sorted(order) == list(range(count))
    assert read_verdict(text) in ("pass", "fail", "abstain")
    assert set(read_critiques(text, count)) <= set(range(count))
