"""Training data of reward models: files, pairs, values."""

from __future__ import annotations

from pathlib import Path

import pytest
from train_doubles import write_lines

from archon.errors import SpecError, UsageError
from archon.train.reward_data import ReplyDataset, TrainingReply, read_replies, with_goal
from archon.types import Message

ASKED = (Message("user", "q"),)


def test_preferences_are_read(tmp_path: Path) -> None:
    rows = [{"prompt": "1+1?", "chosen": "2", "rejected": r} for r in ("3", "")]
    rows.append({"prompt": "2+2?", "chosen": "4", "rejected": "5"})
    found = read_replies(write_lines(tmp_path / "p.jsonl", rows), "p.jsonl")
    assert found.goal == "preference"
    assert not found.reads_conversations
    assert found.pairs == ((0, 1), (2, 3), (4, 5))
    assert found.replies[3].text == ""
    assert len(found.questions) == 2
    only = found.subset(found.questions[1:])
    assert (only.pairs, [r.text for r in only.replies]) == (((0, 1),), ["4", "5"])


def test_right_replies_are_preferred_to_wrong_ones_of_the_same_question() -> None:
    replies = tuple(TrainingReply(question, ASKED, str(i)) for i, question in enumerate("ababab"))
    correct = (True, False, False, False, True, False)
    judged_ones = ReplyDataset("outcome", replies, correct, values=("1",) * 6)
    found = with_goal(judged_ones, "preference", 0)
    assert (found.goal, found.pairs) == ("preference", ((0, 2), (4, 2)))
    assert (found.correct, found.values) == (correct, ("1",) * 6)
    assert with_goal(judged_ones, None, 0) is judged_ones
    with pytest.raises(UsageError, match="needs judged replies"):
        with_goal(ReplyDataset("preference", replies, pairs=((0, 2),)), "outcome", 0)


def test_no_question_has_more_than_64_pairs() -> None:
    replies = tuple(TrainingReply("a", ASKED, str(i)) for i in range(20))
    judged_ones = ReplyDataset("outcome", replies, (True,) * 10 + (False,) * 10)
    pairs = with_goal(judged_ones, "preference", 0).pairs
    assert len(set(pairs)) == 64
    assert all(a < 10 <= b for a, b in pairs)
    assert with_goal(judged_ones, "preference", 0).pairs == pairs
    assert with_goal(judged_ones, "preference", 1).pairs != pairs


GOOD = {"prompt": "q", "completion": "a", "correct": True}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            {"prompt": "q", "completion": "a"},
            "2: a line must have .*; found: completion, prompt",
        ),
        (GOOD | {"messages": []}, "a line must have 'prompt' or 'messages'"),
        (GOOD | {"correct": 1}, r"2: \$\.correct: must be true or false, not 1"),
        (GOOD | {"completion": None}, r"2: \$\.completion: must be a string, not null"),
        (GOOD | {"prompt": " "}, r"2: \$\.prompt: must not be blank"),
        (GOOD | {"question": 3}, r"2: \$\.question: must be a string, not 3"),
        (
            {"prompt": "q", "chosen": "a", "rejected": "b"},
            "the goal 'preference', but earlier lines",
        ),
        ({"messages": [], "completion": "", "correct": True}, r"2: \$\.messages"),
        (GOOD | {"value": "5"}, "either all lines or no line must have"),
        ([], "every line of a JSON Lines file must be an object"),
    ],
)
def test_a_malformed_line_is_rejected(row: object, reason: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=reason):
        read_replies(write_lines(tmp_path / "r.jsonl", [GOOD, row]), "r.jsonl")


def test_values_are_read_and_follow_their_questions(tmp_path: Path) -> None:
    rows = [GOOD | {"prompt": q, "value": value} for q, value in (("a", "5"), ("b", None))]
    found = read_replies(write_lines(tmp_path / "r.jsonl", rows), "r.jsonl")
    assert found.values == ("5", None)
    assert found.subset(found.questions[1:]).values == (None,)
    for wrong, reason in (
        (GOOD, "2: either all lines"),
        (GOOD | {"value": 5}, "must be a string or null"),
    ):
        with pytest.raises(SpecError, match=reason):
            read_replies(write_lines(tmp_path / "r.jsonl", [rows[0], wrong]), "r.jsonl")


def test_a_file_without_replies_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="the file is empty; it must"):
        read_replies(write_lines(tmp_path / "r.jsonl", []), "r.jsonl")
    with pytest.raises(SpecError, match="no such file"):
        read_replies(tmp_path / "none.jsonl", "none.jsonl")
