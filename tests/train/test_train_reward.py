"""Reward models, from their losses to whole trainings of tiny models through the command."""

from __future__ import annotations

import asyncio
import json
import math
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_folders import write_folder
from tiny_models import TinyModel
from torch import Tensor
from train_doubles import tiny_decoder

import archon
from archon.cli import main
from archon.engine.loading import open_model
from archon.engine.model.lora_config import read_adapter, write_adapter
from archon.engine.model.reward_head import RewardHead, read_reward_head
from archon.engine.model.weights import weights_of
from archon.errors import SpecError, UsageError
from archon.evals.journal import JournalWriter
from archon.evals.run import read_run
from archon.graph.nodes.vote import odds_of
from archon.lm import factory
from archon.lm.local.reward import DecoderReward
from archon.lm.reward import RewardLM
from archon.spec.reader import load_model_card
from archon.train import decoder as decoder_module
from archon.train import reward_lora
from archon.train.decoder import decoder_of
from archon.train.lora import adapter_of, add_adapter
from archon.train.objectives import reward as reward_module
from archon.train.optimization import Optimization
from archon.train.platt import platt_scaling
from archon.train.probe import fit_probe, outcome_loss, preference_loss
from archon.train.reward_data import Replies, Reply, parted, read_replies, with_goal
from archon.train.reward_lora import RewardModel
from archon.train.reward_report import calibration_error, reward_report
from archon.types import Message

ASKED = (Message("user", "q"),)


# --------------------------------------------------------------------------------------- losses


def finite_differences(loss: Callable[[Tensor], Tensor], logit_N: Tensor) -> Tensor:
    step = 1e-6
    rows = torch.eye(len(logit_N), dtype=torch.float64) * step
    return torch.stack([(loss(logit_N + row) - loss(logit_N - row)) / (2 * step) for row in rows])


def losses() -> dict[str, Callable[[Tensor], Tensor]]:
    correct_N = torch.tensor([True, False, True, True, False])
    pair_P2 = torch.tensor([[0, 1], [2, 1], [3, 4]])
    return {
        "outcome": lambda logit_N: outcome_loss(logit_N, correct_N),
        "preference": lambda logit_N: preference_loss(logit_N, pair_P2),
    }


@pytest.mark.parametrize("name", losses())
@pytest.mark.parametrize("size", [0.1, 1.0, 20.0])
def test_gradients_are_those_of_finite_differences(name: str, size: float) -> None:
    generator = torch.Generator().manual_seed(1)
    logit_N = size * torch.randn(5, dtype=torch.float64, generator=generator)
    loss = losses()[name]
    asked = logit_N.clone().requires_grad_()
    loss(asked).backward()
    torch.testing.assert_close(asked.grad, finite_differences(loss, logit_N), atol=1e-8, rtol=1e-6)


def test_losses_are_the_mean_surprise() -> None:
    logit_N = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)
    p = [1 / (1 + math.exp(-x)) for x in logit_N.tolist()]
    expected = -(math.log(p[0]) + math.log(1 - p[1]) + math.log(p[2])) / 3
    found = outcome_loss(logit_N, torch.tensor([True, False, True]))
    assert float(found) == pytest.approx(expected)
    strengths = [math.exp(x) for x in logit_N.tolist()]
    expected = -math.log(strengths[2] / (strengths[2] + strengths[1]))
    found = preference_loss(logit_N, torch.tensor([[2, 1]]))
    assert float(found) == pytest.approx(expected)


# ---------------------------------------------------------------------------------------- probe


def toy(num_questions: int = 60, width: int = 12, seed: int = 0) -> tuple[Tensor, Replies]:
    """Replies whose states tell, along one direction and far from zero, whether they are right."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(width, generator=generator)
    hidden = torch.randn(4 * num_questions, width, generator=generator)
    score = hidden @ direction
    hidden = hidden * torch.linspace(0.1, 30, width) + 100
    replies = tuple(Reply(str(i // 4), ASKED, str(i)) for i in range(len(score)))
    return hidden, Replies("outcome", replies, tuple((score > 0).tolist()))


@pytest.mark.parametrize("goal", ["outcome", "preference"])
def test_what_is_separable_is_told_on_questions_never_seen(goal: str) -> None:
    hidden, replies = toy()
    learnt, held_out = parted(replies.questions, 0.25, 0)
    assert not set(learnt) & set(held_out)
    assert sorted(learnt + held_out) == sorted(replies.questions)
    if goal == "preference":
        replies = with_goal(replies, "preference", 0)
    of = [reply.question for reply in replies.replies]
    learn, held = replies.of(learnt), replies.of(held_out)
    probe = fit_probe(hidden[[q in learnt for q in of]], learn, [1e-4, 1e-2, 10.0])
    assert probe.penalty < 10
    held_NE = hidden[[q in held_out for q in of]]
    report = reward_report(probe.logits(held_NE).sigmoid().tolist(), held)
    if goal == "outcome":
        assert report["accuracy"] > 0.95
    assert report["auc"] > 0.95
    assert report["within_questions"] > 0.95
    if goal == "preference":
        mean = probe.logits(hidden[[q in learnt for q in of]]).mean()
        assert abs(float(mean)) < 1e-6  # an average reply has the reward 0.5


def test_a_probe_is_where_the_gradient_is_zero() -> None:
    hidden, replies = toy(20)
    probe = fit_probe(hidden, replies, [0.05])
    spread = hidden.double().std(0, correction=0)
    weight = probe.weight_E.clone().requires_grad_()
    bias = torch.tensor(probe.bias, dtype=torch.float64, requires_grad=True)
    logit_N = hidden.double() @ weight + bias
    loss = outcome_loss(logit_N, torch.tensor(replies.correct))
    (loss + 0.05 / 2 * (weight * spread).square().sum()).backward()
    assert weight.grad is not None
    assert bias.grad is not None
    assert float((weight.grad / spread).abs().max()) < 1e-4
    assert abs(float(bias.grad)) < 1e-5


def test_a_channel_that_never_changes_is_left_out() -> None:
    hidden, replies = toy(20)
    hidden[:, 3] = 7.0
    probe = fit_probe(hidden, replies, [0.01])
    assert probe.weight_E[3] == 0
    assert probe.weight_E.isfinite().all()


def test_noise_is_not_learnt() -> None:
    hidden, replies = toy(40, width=100)
    shuffled = Random(0).sample(replies.correct, len(replies.correct))
    noise = Replies("outcome", replies.replies, tuple(shuffled))
    probe = fit_probe(hidden, noise, [1e-4, 1e-2, 1.0, 100.0])
    assert probe.penalty >= 1
    assert len(probe.fold_losses) == 4


def test_where_no_fold_can_tell_the_greatest_penalty_is_taken() -> None:
    replies = tuple(Reply(question, ASKED, "") for question in "aabb")
    known = Replies("outcome", replies, (True, True, False, False))
    probe = fit_probe(torch.randn(4, 3), known, [0.01, 10.0, 0.1])
    assert (probe.penalty, probe.fold_losses) == (10.0, ())


def test_a_fold_without_a_pair_tells_nothing() -> None:
    replies = tuple(Reply(question, ASKED, "") for question in "aabbccdd")
    correct = (True, False, True, True, False, False, True, False)
    known = with_goal(Replies("outcome", replies, correct), "preference", 0)
    assert known.pairs == ((0, 1), (6, 7))
    probe = fit_probe(torch.randn(8, 3), known, [0.01, 0.1])
    assert len(probe.fold_losses) == 2
    assert all(map(math.isfinite, probe.fold_losses))


def test_preferences_without_a_pair_are_refused() -> None:
    replies = tuple(Reply(question, ASKED, "") for question in "aabb")
    known = with_goal(Replies("outcome", replies, (True, True, False, False)), "preference", 0)
    with pytest.raises(UsageError, match="has both a right and a wrong reply"):
        fit_probe(torch.randn(4, 3), known, [0.1])


@pytest.mark.parametrize(
    ("correct", "questions", "reason"),
    [
        ((True, True), "ab", "all replies to learn from are right"),
        ((False, False), "ab", "are wrong, so that they teach nothing"),
        ((True, False), "aa", "takes replies to at least two questions"),
    ],
)
def test_what_teaches_nothing_is_refused(
    correct: tuple[bool, ...], questions: str, reason: str
) -> None:
    replies = Replies("outcome", tuple(Reply(q, ASKED, "") for q in questions), correct)
    with pytest.raises(UsageError, match=reason):
        fit_probe(torch.randn(2, 3), replies, [0.1])


# ----------------------------------------------------------------------------------------- platt


@pytest.mark.parametrize(("slope", "bias"), [(3.0, 0.0), (0.5, 2.0)])
def test_probabilities_that_are_too_sure_are_brought_to_what_comes_true(
    slope: float, bias: float
) -> None:
    rng = Random(0)
    true = [rng.gauss(0, 2) for _ in range(4000)]
    correct = [rng.random() < 1 / (1 + math.exp(-logit)) for logit in true]
    logit_N = slope * torch.tensor(true, dtype=torch.float64) + bias
    found, shift = platt_scaling(logit_N, correct)
    assert found == pytest.approx(1 / slope, rel=0.1)
    assert shift == pytest.approx(-bias / slope, abs=0.15)
    gap_N = (found * logit_N + shift).sigmoid() - torch.tensor(correct).double()
    assert abs(float(gap_N.mean())) < 1e-3
    assert abs(float((gap_N * logit_N).mean())) < 1e-2


def test_logits_that_part_right_from_wrong_have_a_finite_slope() -> None:
    slope, _ = platt_scaling(torch.tensor([-1.0, -0.5, 0.5, 1.0]), [False, False, True, True])
    assert 0 < slope < 20


@pytest.mark.parametrize("correct", [[True, True], [False, False], [True, False]])
def test_logits_are_left_as_they_are_where_nothing_can_be_told(correct: list[bool]) -> None:
    assert platt_scaling(torch.tensor([-1.0, 1.0]), correct) == (1.0, 0.0)


# --------------------------------------------------------------------------------------- report


def test_a_report_tells_what_choosing_gains() -> None:
    replies = tuple(Reply(q, ASKED, "") for q in "aabbcc")
    known = Replies("outcome", replies, (True, False, True, False, False, False))
    found = reward_report([0.9, 0.1, 0.3, 0.4, 0.6, 0.2], known)
    assert found == {
        "questions": 3, "replies": 6, "right": 2 / 6, "accuracy": 4 / 6,
        "auc": pytest.approx((4 + 2) / 8),
        "brier": pytest.approx((0.01 + 0.01 + 0.49 + 0.16 + 0.36 + 0.04) / 6),
        "calibration_error": pytest.approx(calibration_error(
            list(zip([0.9, 0.1, 0.3, 0.4, 0.6, 0.2], known.correct, strict=True)))),
        "chance": pytest.approx(1 / 3), "best_of_n": pytest.approx(1 / 3),
        "within_questions": 0.5, "oracle": pytest.approx(2 / 3),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("questions", "values", "correct", "vote", "weighted"),
    [
        # Two wrong ones outvote the right one, whose reward outweighs both.
        ("aaa", ["5", "4", "4"], [True, False, False], 0, 1),
        # Of equals the earlier, whichever its reward.
        ("aab", ["4", "5", "9"], [False, True, True], 1 / 2, 1 / 2),
        # What has no value has no vote; where none has, the first is the answer.
        ("aaabb", [None, None, "5", None, None], [False, False, True, True, False], 1, 1),
    ],
)
def test_a_report_tells_whether_weighing_votes_helps(
    questions: str, values: list[str | None], correct: list[bool], vote: float, weighted: float
) -> None:
    replies = tuple(Reply(question, ASKED, "") for question in questions)
    known = Replies("outcome", replies, tuple(correct), values=tuple(values))
    rewards = [0.9, 0.4, 0.4, 0.4, 0.4][: len(values)]
    report = reward_report(rewards, known)
    assert (report["vote"], report["vote_by_score"]) == (vote, weighted)


def test_a_report_tells_what_odds_weigh_and_of_preferences_no_probabilities() -> None:
    replies = tuple(Reply("a", ASKED, "") for _ in range(4))
    values = ("5", "4", "4", "4")
    known = Replies("outcome", replies, (True, False, False, False), values=values)
    rewards = [0.9, 0.6, 0.6, 0.6]  # weigh 0.9 and 1.8 by themselves, by their odds 9 and 4.5
    report = reward_report(rewards, known)
    assert [report[f"vote{by}"] for by in ("", "_by_score", "_by_odds")] == [0, 0, 1]
    compared = reward_report(rewards, with_goal(known, "preference", 0))
    assert report.items() >= compared.items()
    assert set(report) - set(compared) == {"accuracy", "brier", "calibration_error"}


def test_probabilities_that_come_true_have_no_calibration_error() -> None:
    pairs = [(0.25, i == 0) for i in range(4)] + [(0.75, i != 0) for i in range(4)]
    assert calibration_error(pairs) == 0
    assert calibration_error([(0.95, False)]) == pytest.approx(0.95)
    assert calibration_error([(1.0, True), (0.0, False)]) == 0


# ----------------------------------------------------------------------------------------- data


def write_lines(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_preferences_are_read_as_a_reader_exports_them(tmp_path: Path) -> None:
    rows = [{"prompt": "1+1?", "chosen": "2", "rejected": r} for r in ("3", "")]
    rows.append({"prompt": "2+2?", "chosen": "4", "rejected": "5"})
    found = read_replies(write_lines(tmp_path / "p.jsonl", rows), "p.jsonl")
    assert found.goal == "preference"
    assert not found.reads_conversations
    assert found.pairs == ((0, 1), (2, 3), (4, 5))
    assert found.replies[3].text == ""
    assert len(found.questions) == 2
    only = found.of(found.questions[1:])
    assert (only.pairs, [r.text for r in only.replies]) == (((0, 1),), ["4", "5"])


def test_of_judged_replies_the_right_are_preferred_to_the_wrong_of_the_same_question() -> None:
    replies = tuple(Reply(question, ASKED, str(i)) for i, question in enumerate("ababab"))
    correct = (True, False, False, False, True, False)
    judged_ones = Replies("outcome", replies, correct, values=("1",) * 6)
    found = with_goal(judged_ones, "preference", 0)
    assert (found.goal, found.pairs) == ("preference", ((0, 2), (4, 2)))
    assert (found.correct, found.values) == (correct, ("1",) * 6)
    assert with_goal(judged_ones, None, 0) is judged_ones
    with pytest.raises(UsageError, match="is not known"):
        with_goal(Replies("preference", replies, pairs=((0, 2),)), "outcome", 0)


def test_no_question_has_more_than_64_pairs() -> None:
    replies = tuple(Reply("a", ASKED, str(i)) for i in range(20))
    judged_ones = Replies("outcome", replies, (True,) * 10 + (False,) * 10)
    pairs = with_goal(judged_ones, "preference", 0).pairs
    assert len(set(pairs)) == 64
    assert all(a < 10 <= b for a, b in pairs)
    assert with_goal(judged_ones, "preference", 0).pairs == pairs
    assert with_goal(judged_ones, "preference", 1).pairs != pairs


GOOD = {"prompt": "q", "completion": "a", "correct": True}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "q", "completion": "a"}, "2: has the keys completion, prompt; a line has"),
        (GOOD | {"messages": []}, "a line has 'prompt' or 'messages'"),
        (GOOD | {"correct": 1}, r"2: \$\.correct: is 1, not true or false"),
        (GOOD | {"completion": None}, r"2: \$\.completion: is null, not a text"),
        (GOOD | {"prompt": " "}, r"2: \$\.prompt: is"),
        (GOOD | {"question": 3}, r"2: \$\.question: is 3"),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, "is for preference, the lines before"),
        ({"messages": [], "completion": "", "correct": True}, r"2: \$\.messages"),
        (GOOD | {"value": "5"}, "some lines have a 'value' and some have none"),
        ([], "JSON Lines has one object"),
    ],
)
def test_a_line_of_another_form_is_told(row: object, reason: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=reason):
        read_replies(write_lines(tmp_path / "r.jsonl", [GOOD, row]), "r.jsonl")


def test_values_are_read_and_go_with_their_questions(tmp_path: Path) -> None:
    rows = [GOOD | {"prompt": q, "value": value} for q, value in (("a", "5"), ("b", None))]
    found = read_replies(write_lines(tmp_path / "r.jsonl", rows), "r.jsonl")
    assert found.values == ("5", None)
    assert found.of(found.questions[1:]).values == (None,)
    for wrong, reason in ((GOOD, "2: some lines"), (GOOD | {"value": 5}, "neither a text")):
        with pytest.raises(SpecError, match=reason):
            read_replies(write_lines(tmp_path / "r.jsonl", [rows[0], wrong]), "r.jsonl")


def test_a_file_of_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="holds no replies"):
        read_replies(write_lines(tmp_path / "r.jsonl", []), "r.jsonl")
    with pytest.raises(SpecError, match="cannot be read"):
        read_replies(tmp_path / "none.jsonl", "none.jsonl")


# ---------------------------------------------------------------------------------- whole trainings


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A card of a tiny model in float32, whose hidden states tell most of what it read."""
    folder = write_folder(tmp_path / "base", TinyModel("qwen2", width=64))
    card = {"name": "base", "backend": "local", "sources": [{"path": str(folder)}]}
    (tmp_path / "base.json").write_text(json.dumps(card | {"precision": "float32"}))
    return tmp_path / "base.json"


def judged(count: int = 100) -> list[dict[str, Any]]:
    """Replies of which those that end in ``!`` are right: the last tokens tell."""
    rng = Random(5)
    return [
        {"prompt": f"say {i}", "completion": "the" * rng.randint(0, 3) + end, "correct": end == "!"}
        for i in range(count)
        for end in rng.sample("!?", 2)
    ]


def preferred(count: int = 100) -> list[dict[str, Any]]:
    return [{"prompt": f"say {i}", "chosen": f"{i} !", "rejected": f"{i} ?"} for i in range(count)]


def config(tmp_path: Path, base: Path, rows: list[dict[str, Any]], **changes: Any) -> list[str]:
    write_lines(tmp_path / "data.jsonl", rows)
    spec = {
        "version": 1, "training": "reward", "name": "tiny-reward", "model": str(base),
        "data": {"path": "data.jsonl"}, "penalties": [0.001, 0.1],
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(spec | changes))
    return ["train", "reward", str(tmp_path / "config.json"), "--output", str(tmp_path / "out")]


def record_of(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "out" / "training.json").read_text())
    return found


def rewards_of(tmp_path: Path, *texts: str) -> list[float]:
    """What the trained card gives replies to "say 99"."""
    card = load_model_card(str(tmp_path / "out" / "card.json"))
    lm = factory.open_lm(card.spec, card.base_dir)
    assert isinstance(lm, RewardLM)

    async def score() -> list[float]:
        try:
            return await lm.score((Message("user", "say 99"),), texts)
        finally:
            await lm.aclose()

    return asyncio.run(score())


@pytest.mark.parametrize("rows", [judged, preferred])
def test_a_head_is_trained_and_its_card_rewards(
    rows: Callable[[], list[dict[str, Any]]], tmp_path: Path, base: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main([*config(tmp_path, base, rows()), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["after"]["accuracy"] > 0.9
    assert result["after"]["questions"] == 20
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        ".lock", "reward", "card.json", "training.json"
    }  # fmt: skip
    assert json.loads((tmp_path / "out" / "card.json").read_text())["prompt"] == {
        "template": "bare"
    }
    good, bad = rewards_of(tmp_path, "99 !", "99 ?")
    assert good > 0.5 > bad
    assert main([*config(tmp_path, base, rows()), "--resume"]) == 0  # it is told once more


@pytest.mark.parametrize("lora", [False, True])
def test_judged_replies_can_be_learnt_from_as_preferences(
    lora: bool, tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"lora": LORA} if lora else {}
    assert main(config(tmp_path, base, judged(), goal="preference", **more)) == 0
    assert "as probabilities" not in capsys.readouterr().err
    record = record_of(tmp_path)
    assert (record["pairs"], record["replies"]) == (80, 160)
    assert record["after"]["within_questions"] > 0.9
    head = read_reward_head(tmp_path / "out" / "reward")
    assert head.goal == "preference"
    good, bad = rewards_of(tmp_path, "99 !", "99 ?")
    assert good > 0.5 > bad


def test_preferences_are_no_judgements(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(config(tmp_path, base, preferred(), goal="outcome")) == 2
    assert "the goal 'outcome' asks, is not known" in capsys.readouterr().err.replace("\n", " ")


def test_reading_goes_on_after_an_interrupt(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reward_module, "_CHUNK", 10)
    command = config(tmp_path, base, judged())
    assert main(command) == 0
    whole = record_of(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    command = config(other, base, judged())
    read = reward_module.own_hidden
    chunks: list[int] = []

    def counted(*given: Any) -> Tensor:
        chunks.append(len(given[2]))
        if len(chunks) == 3:
            signal.raise_signal(signal.SIGINT)
        return read(*given)

    monkeypatch.setattr(reward_module, "own_hidden", counted)
    assert main(command) == 130
    assert (other / "out" / "state.safetensors").is_file()
    assert main(command) == 2  # without --resume nothing is written over
    assert main([*command, "--resume"]) == 0
    assert sum(chunks) == 200
    again = record_of(other)
    assert not (other / "out" / "state.safetensors").exists()
    for key in ("before", "after", "penalty"):
        assert again[key] == whole[key]


def test_a_training_does_not_go_on_with_other_replies(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reward_module, "_CHUNK", 10)
    others = [row | {"completion": f"so {row['completion']}"} for row in judged()]
    command = config(tmp_path, base, judged())
    read = reward_module.own_hidden

    def interrupted(*given: Any) -> Tensor:
        signal.raise_signal(signal.SIGINT)
        return read(*given)

    with monkeypatch.context() as patched:
        patched.setattr(reward_module, "own_hidden", interrupted)
        assert main(command) == 130
    write_lines(tmp_path / "data.jsonl", others)
    assert main([*command, "--resume"]) == 2
    assert "the data are not those" in capsys.readouterr().err
    write_lines(tmp_path / "data.jsonl", judged())
    assert main([*command, "--resume"]) == 0


def test_what_was_read_is_kept_while_the_head_is_fitted(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = config(tmp_path, base, judged())

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(reward_module, "fit_probe", stopped)
        assert main(command) == 130

    def unread(*_: object) -> None:
        raise AssertionError("is read again")

    monkeypatch.setattr(reward_module, "own_hidden", unread)
    assert main([*command, "--resume"]) == 0


@pytest.mark.parametrize("rows", [judged, preferred])
def test_a_conversation_without_room_for_a_reply_is_named(
    rows: Callable[[], list[dict[str, Any]]], tmp_path: Path, base: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    card = json.loads(base.read_text()) | {"context": 64}
    base.write_text(json.dumps(card))
    long = rows()
    long[7] |= {"prompt": "say " * 70, "question": "the long one"}
    assert main(config(tmp_path, base, long)) == 2
    told = capsys.readouterr().err.replace("\n", " ")
    assert "question 'the long one': the conversation has" in told
    assert "the model's context of 64" in told


LORA = {"rank": 4, "alpha": 8, "steps": 40, "batch": 8, "learning_rate": 0.01, "context": 128}


@pytest.mark.parametrize("rows", [judged, preferred])
def test_an_adapter_learns_with_the_head(
    rows: Callable[[], list[dict[str, Any]]], tmp_path: Path, base: Path
) -> None:
    assert main(config(tmp_path, base, rows(), lora=LORA)) == 0
    record = record_of(tmp_path)
    assert record["after"]["accuracy"] > 0.9
    assert record["loss"][-1] < record["loss"][0]
    adapter = read_adapter(tmp_path / "out" / "adapter")
    assert all(b.abs().max() > 1e-3 for _, b in adapter.pairs.values())
    good, bad = rewards_of(tmp_path, "99 !", "99 ?")
    assert good > 0.5 > bad


def test_probabilities_are_fitted_to_what_an_adapter_has_not_seen(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Tensor, Sequence[bool]]] = []
    trained: list[tuple[RewardHead, Replies]] = []

    def scaling(logit_N: Tensor, correct: Sequence[bool]) -> tuple[float, float]:
        given.append((logit_N, correct))
        return 0.5, -0.25

    class Watched(reward_lora.AdapterSteps):
        def save(self, path: Path) -> RewardHead:
            trained.append((super().save(path), self._learn))
            return trained[0][0]

    monkeypatch.setattr(reward_module, "platt_scaling", scaling)
    monkeypatch.setattr(reward_module, "AdapterSteps", Watched)
    assert main(config(tmp_path, base, judged(), lora=LORA | {"steps": 4})) == 0
    [(head, learnt)], [(logit_N, correct)], record = trained, given, record_of(tmp_path)
    # 100 questions: 20 are held out, of the rest a tenth is set aside.
    assert (len(learnt.questions), len(correct), record["after"]["questions"]) == (72, 16, 20)
    assert record["scaling"] == {"replies": 16, "slope": 0.5, "bias": -0.25}
    written = read_reward_head(tmp_path / "out" / "reward")
    assert torch.equal(written.weight_E, head.weight_E / 2)
    assert written.bias == pytest.approx(head.bias / 2 - 0.25)
    replies = read_replies(tmp_path / "data.jsonl", "")
    _, aside = parted(parted(replies.questions, 0.2, 0)[0], 0.1, 0)
    assert not set(aside) & set(learnt.questions)
    assert tuple(correct) == replies.of(aside).correct
    assert logit_N.std() > 0


def test_an_average_reply_is_one_of_a_sample_of_all(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Replies] = []

    class Watched(reward_module.RewardModeling):
        def _hidden(self, opened: Any, replies: Replies, *given: Any, **more: Any) -> Tensor:
            read.append(replies)
            return super()._hidden(opened, replies, *given, **more)

    monkeypatch.setattr(reward_module, "RewardModeling", Watched)
    monkeypatch.setattr(reward_module, "_ANCHORS", 8)
    assert main(config(tmp_path, base, preferred(), lora=LORA | {"steps": 1})) == 0
    every, some, _ = (found.replies for found in read)
    assert len(some) == 8
    assert set(some) <= set(every)
    assert max(every.index(reply) for reply in some) > 30


def test_an_adapter_begins_anew_where_the_state_is_that_of_reading(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reward_module, "_CHUNK", 20)
    monkeypatch.setattr(reward_module, "_SAVE_EVERY", 1)
    lora = LORA | {"steps": 2}
    assert main(config(tmp_path, base, judged(20), lora=lora)) == 0
    assert len(record_of(tmp_path)["loss"]) == 2


def test_the_head_is_computed_in_float32_whatever_the_decoder_is() -> None:
    decoder = tiny_decoder()
    weight_E = torch.randn(decoder.config.width)
    model = RewardModel(decoder, weight_E, 0.5, "bf16")
    seen: list[Tensor] = []
    model.head.register_forward_hook(lambda _, given, out: seen.extend((given[0], out)))
    with torch.no_grad():
        logit_N = model([(1, 2, 3), (4, 5)], 16)
    hidden_NE, out_N1 = seen
    assert hidden_NE.dtype == out_N1.dtype == torch.float32
    assert torch.equal(logit_N, (hidden_NE @ model.head.weight.T + model.head.bias)[:, 0])


def test_an_adapter_that_is_resumed_ends_as_it_would_have(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = LORA | {"steps": 8, "dropout": 0.2, "save_every": 3}
    assert main(config(tmp_path, base, judged(20), lora=lora)) == 0
    whole = record_of(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    command = config(other, base, judged(20), lora=lora)
    step = Optimization.step

    def interrupted(self: Any, parts: Any) -> float:
        loss = step(self, parts)
        if self.num_steps == 4:
            signal.raise_signal(signal.SIGINT)
        return loss

    with monkeypatch.context() as patched:
        patched.setattr(Optimization, "step", interrupted)
        assert main(command) == 130
    assert main([*command, "--resume"]) == 0
    again = record_of(other)
    assert (again["loss"], again["after"]) == (whole["loss"], whole["after"])


def test_bf16_and_layers_computed_twice_train_too(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = LORA | {"steps": 4, "dtype": "bf16", "checkpoint_layers": True}
    checkpointed: list[object] = []

    def watched(function: Callable[..., Tensor], *given: Any, **more: Any) -> Tensor:
        checkpointed.append(function)
        return function(*given)

    monkeypatch.setattr(decoder_module, "checkpoint", watched)
    assert main(config(tmp_path, base, judged(20), lora=lora)) == 0
    assert checkpointed
    tensors = load_file(tmp_path / "out" / "adapter" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("count", "more", "told"),
    [
        (2, {}, "replies to 2 questions, of which 1 are held out"),
        (3, {"lora": LORA}, "replies to 3 questions, of which 1 are held out, 1 set aside"),
    ],
)
def test_too_few_questions_are_told_with_what_is_held_out(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str], count: int,
    more: dict[str, Any], told: str,
) -> None:  # fmt: skip
    assert main(config(tmp_path, base, judged(count), **more)) == 2
    assert told in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("logit", [-700.0, -40.0, -1.0, 0.0, 1.0, 30.0])
def test_a_rewards_odds_are_those_of_its_logit(logit: float) -> None:
    head = RewardHead("preference", torch.tensor([1.0]), logit, "base")
    assert odds_of(head.reward(torch.zeros(1))) == pytest.approx(math.exp(logit), rel=1e-2)


# ------------------------------------------------------------------------------------- sampling


def test_a_head_reads_what_an_adapter_of_its_card_makes(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = decoder_of(weights_of(open_model(tmp_path / "base")))
    add_adapter(model, ["q_proj", "down_proj"], 2, 4, 0.0, seed=3)
    for name, parameter in model.named_parameters():
        if name.endswith("lora_B.weight"):
            torch.nn.init.normal_(parameter, std=0.2)
    write_adapter(adapter_of(model), tmp_path / "adapter", base="base")
    plain = json.loads(base.read_text())
    adapted = tmp_path / "adapted.json"
    adapted.write_text(json.dumps(plain | {"name": "adapted", "adapter": "./adapter"}))
    assert main(config(tmp_path, adapted, judged())) == 0
    head = read_reward_head(tmp_path / "out" / "reward")
    assert head.adapter == read_adapter(tmp_path / "adapter").digest
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert Path(card["adapter"]) == tmp_path / "adapter"
    good, bad = rewards_of(tmp_path, "99 !", "99 ?")
    assert good > 0.5 > bad

    other = tmp_path / "other"
    other.mkdir()
    assert main(config(other, base, judged())) == 0  # without it the states are others
    assert not torch.equal(read_reward_head(other / "out" / "reward").weight_E, head.weight_E)
    capsys.readouterr()
    refused = tmp_path / "refused"
    refused.mkdir()
    assert main(config(refused, adapted, judged(), lora=LORA)) == 2
    assert "leave 'lora' out" in capsys.readouterr().err.replace("\n", " ")


def sampling(tmp_path: Path, base: Path, **changes: Any) -> list[str]:
    """Drafts of a tiny model to a few sums, of which those that hold a 1 count as right."""
    items = [{"id": f"i{n}", "question": f"{n} + 1?", "answer": str(n)} for n in range(90)]
    write_lines(tmp_path / "items.jsonl", items)
    bench = {
        "version": 1, "name": "tiny", "source": {"jsonl": "items.jsonl"},
        "answer": "number", "score": "number-exact",
    }  # fmt: skip
    (tmp_path / "bench.json").write_text(json.dumps(bench))
    card = {"name": "solver", "backend": "scripted", "accuracy": 0.5}
    architecture = {
        "version": 1, "name": "drafts", "models": {"solver": card},
        "nodes": {
            "draft": {"type": "generator", "model": "solver", "samples": 4},
            "vote": {"type": "vote", "inputs": ["draft"]},
        },
        "output": "vote",
    }  # fmt: skip
    (tmp_path / "drafts.json").write_text(json.dumps(architecture))
    data = {"benchmark": "./bench.json", "architecture": "./drafts.json", "items": 12, "epochs": 2}
    return config(tmp_path, base, judged(), data=data | changes)


def test_replies_are_sampled_on_the_search_split_and_kept(tmp_path: Path, base: Path) -> None:
    assert main(sampling(tmp_path, base)) == 0
    out = tmp_path / "out"
    run = read_run(out / "sampling")
    assert run.description["items"]["split"] == "search"
    kept = [json.loads(line) for line in (out / "data.jsonl").read_text().splitlines()]
    assert len(kept) == 12 * 4 * 2
    assert len({row["question"] for row in kept}) == 12
    assert {row["correct"] for row in kept} == {True, False}
    for row in kept:
        answer = int(row["question"].removeprefix("line-")) - 1
        assert row["correct"] == (row["value"] == str(answer))
    accuracies = [d.score for r in run.records() for d in r.draws["draft"]]
    assert sum(accuracies) == sum(row["correct"] for row in kept)
    assert all(row["messages"][-1]["content"].startswith("Question: ") for row in kept)
    record = record_of(tmp_path)
    assert record["questions"] + record["after"]["questions"] == 12
    assert 0 <= record["after"]["vote_by_score"] <= record["after"]["oracle"]
    card = json.loads((out / "card.json").read_text())
    assert card["prompt"] == {"template": "conversation"}

    again = tmp_path / "again"
    again.mkdir()
    assert main(config(again, base, kept)) == 0  # what was kept trains the same without sampling
    other = record_of(again)
    assert (other["before"], other["penalty"]) == (record["before"], record["penalty"])


def test_a_trained_card_ranks_and_weighs_in_a_graph(tmp_path: Path, base: Path) -> None:
    assert main(sampling(tmp_path, base)) == 0
    spec = {
        "version": 1, "name": "weighed", "answer": "text",
        "models": {"solver": str(base), "judge": str(tmp_path / "out" / "card.json")},
        "nodes": {
            "draft": {"type": "generator", "model": "solver", "samples": 4,
                      "sampling": {"max_tokens": 40, "temperature": 1.0}},
            "best": {"type": "ranker", "model": "judge", "inputs": ["draft"], "method": "reward"},
            "answer": {"type": "vote", "inputs": ["best"], "weight": "score"},
        },
        "output": "answer",
    }  # fmt: skip
    architecture = archon.load(spec)
    answer = architecture.run("What is 2 + 3?")
    ranked = answer.trace.nodes["best"].outputs
    scores = [candidate.score or 0.0 for candidate in ranked]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    assert answer.candidates[0].score == pytest.approx(
        max(
            sum(c.score or 0.0 for c in ranked if c.value == value)
            for value in {c.value for c in ranked}
        )
    )
    solver, judge = (architecture._lms[role] for role in ("solver", "judge"))
    assert isinstance(judge._lm._model, DecoderReward)  # type: ignore[attr-defined]
    assert judge._lm._model.worker is solver._lm.worker  # type: ignore[attr-defined]
    for lm in (solver, judge):
        asyncio.run(lm.aclose())  # type: ignore[attr-defined]


def test_sampling_goes_on_after_an_interrupt(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = sampling(tmp_path, base)

    append, counts = JournalWriter.append, [0, 0]

    def counted(self: JournalWriter, line: bytes) -> Future[None]:
        counts[-1] += 1
        if counts == [0, 5]:
            signal.raise_signal(signal.SIGINT)
        return append(self, line)

    monkeypatch.setattr(JournalWriter, "append", counted)
    assert main(command) == 130
    assert not (tmp_path / "out" / "data.jsonl").exists()
    assert main(command) == 2
    counts.append(0)
    assert main([*command, "--resume"]) == 0
    assert sum(counts) == 24
    assert counts[1] >= 5


# -------------------------------------------------------------------------------- what misfits


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "scripted"}, "no weights here that could be trained"),
        ({"model": "no-such"}, "no model 'no-such' in the catalogue"),
        ({"held_out": 1.0}, "held_out"),
        ({"penalties": [0]}, "penalties"),
        ({"data": {"path": "none.jsonl"}}, "none.jsonl: cannot be read"),
        ({"data": {"benchmark": "smoke"}}, "architecture"),
        ({"lora": LORA | {"targets": ["nothing"]}}, "no linear layer is called 'nothing'"),
        ({"lora": LORA | {"context": 8}}, "no reply fits 8 tokens"),
        ({"lora": LORA | {"targets": ["q_proj", "lm_head"]}}, "'lm_head' would learn nothing"),
    ],
)
def test_a_configuration_that_cannot_be_followed_is_told(
    changes: dict[str, Any], reason: str, tmp_path: Path, base: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(config(tmp_path, base, judged(8), **changes)) == 2
    assert reason in capsys.readouterr().err.replace("\n", " ")


def test_another_commands_configuration_is_told(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = config(tmp_path, base, judged(8))
    assert main(["train", "sft", *command[2:]]) == 2
    assert "is for `archon train reward`" in capsys.readouterr().err
    assert main(["train", "reward", "sums"]) == 2
    assert "is for `archon train pretrain`" in capsys.readouterr().err
