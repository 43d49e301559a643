"""Trainings of tiny reward models through the command."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from reward_doubles import LORA, config, judged, preferred, record_of, rewards_of, write_base
from safetensors.torch import load_file
from torch import Tensor
from train_doubles import tiny_decoder, write_lines

from archon.cli import main
from archon.engine.model.lora_config import read_adapter
from archon.engine.model.reward_head import RewardHead, read_reward_head
from archon.graph.nodes.vote import odds_of
from archon.train import decoder as decoder_module
from archon.train import reward_lora
from archon.train.objectives import reward as reward_module
from archon.train.reward_data import ReplyDataset, read_replies, split_questions
from archon.train.reward_lora import RewardDecoder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path)


@pytest.mark.parametrize("rows", [judged, preferred])
def test_a_head_is_trained_and_its_card_computes_rewards(
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
    assert main([*config(tmp_path, base, rows()), "--resume"]) == 0  # the report is printed again


@pytest.mark.parametrize("lora", [False, True])
def test_judged_replies_can_train_a_preference_head(
    lora: bool, tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"lora": LORA} if lora else {}
    assert main(config(tmp_path, base, judged(), goal="preference", **more)) == 0
    assert "as probabilities" not in capsys.readouterr().out
    record = record_of(tmp_path)
    assert (record["pairs"], record["replies"]) == (80, 160)
    assert record["after"]["within_questions"] > 0.9
    head = read_reward_head(tmp_path / "out" / "reward")
    assert head.goal == "preference"
    good, bad = rewards_of(tmp_path, "99 !", "99 ?")
    assert good > 0.5 > bad


def test_compared_replies_cannot_train_an_outcome_head(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(config(tmp_path, base, preferred(), goal="outcome")) == 2
    assert "the goal 'outcome' needs judged replies" in capsys.readouterr().err.replace("\n", " ")


def test_reading_replies_resumes_after_an_interrupt(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reward_module, "_CHUNK", 10)
    command = config(tmp_path, base, judged())
    assert main(command) == 0
    uninterrupted = record_of(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    command = config(other, base, judged())
    read = reward_module.hidden_in_file_basis
    chunks: list[int] = []

    def counted(*given: Any) -> Tensor:
        chunks.append(len(given[2]))
        if len(chunks) == 3:
            signal.raise_signal(signal.SIGINT)
        return read(*given)

    monkeypatch.setattr(reward_module, "hidden_in_file_basis", counted)
    assert main(command) == 130
    assert (other / "out" / "state.safetensors").is_file()
    assert main(command) == 2  # nothing is overwritten without --resume
    assert main([*command, "--resume"]) == 0
    assert sum(chunks) == 200
    again = record_of(other)
    assert not (other / "out" / "state.safetensors").exists()
    for key in ("before", "after", "penalty"):
        assert again[key] == uninterrupted[key]


def test_a_training_is_not_resumed_with_other_replies(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reward_module, "_CHUNK", 10)
    others = [row | {"completion": f"so {row['completion']}"} for row in judged()]
    command = config(tmp_path, base, judged())
    read = reward_module.hidden_in_file_basis

    def interrupted(*given: Any) -> Tensor:
        signal.raise_signal(signal.SIGINT)
        return read(*given)

    with monkeypatch.context() as patched:
        patched.setattr(reward_module, "hidden_in_file_basis", interrupted)
        assert main(command) == 130
    write_lines(tmp_path / "data.jsonl", others)
    assert main([*command, "--resume"]) == 2
    assert "was started with other data" in capsys.readouterr().err
    write_lines(tmp_path / "data.jsonl", judged())
    assert main([*command, "--resume"]) == 0


def test_hidden_states_are_saved_while_the_head_is_fitted(
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

    monkeypatch.setattr(reward_module, "hidden_in_file_basis", unread)
    assert main([*command, "--resume"]) == 0


@pytest.mark.parametrize("rows", [judged, preferred])
def test_an_error_names_a_conversation_that_leaves_no_space_for_a_reply(
    rows: Callable[[], list[dict[str, Any]]], tmp_path: Path, base: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    card = json.loads(base.read_text()) | {"context": 64}
    base.write_text(json.dumps(card))
    long = rows()
    long[7] |= {"prompt": "say " * 70, "question": "the long one"}
    assert main(config(tmp_path, base, long)) == 2
    error = capsys.readouterr().err.replace("\n", " ")
    assert "question 'the long one': the conversation has" in error
    assert "the model's context of 64" in error


@pytest.mark.parametrize("rows", [judged, preferred])
def test_an_adapter_is_trained_with_the_head(
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


def test_probabilities_are_calibrated_on_replies_that_the_adapter_has_not_seen(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Tensor, Sequence[bool]]] = []
    trained: list[tuple[RewardHead, ReplyDataset]] = []

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
    [(head, learned)], [(logit_N, correct)], record = trained, given, record_of(tmp_path)
    # Of 100 questions 20 are held out; a tenth of the others is set aside.
    assert (len(learned.questions), len(correct), record["after"]["questions"]) == (72, 16, 20)
    assert record["scaling"] == {"replies": 16, "slope": 0.5, "bias": -0.25}
    written = read_reward_head(tmp_path / "out" / "reward")
    assert torch.equal(written.weight_E, head.weight_E / 2)
    assert written.bias == pytest.approx(head.bias / 2 - 0.25)
    replies = read_replies(tmp_path / "data.jsonl", "")
    _, aside = split_questions(split_questions(replies.questions, 0.2, 0)[0], 0.1, 0)
    assert not set(aside) & set(learned.questions)
    assert tuple(correct) == replies.subset(aside).correct
    assert logit_N.std() > 0


def test_the_bias_is_centred_on_a_random_sample_of_replies(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[ReplyDataset] = []

    class Watched(reward_module.RewardModeling):
        def _hidden(self, opened: Any, replies: ReplyDataset, *given: Any, **more: Any) -> Tensor:
            read.append(replies)
            return super()._hidden(opened, replies, *given, **more)

    monkeypatch.setattr(reward_module, "RewardModeling", Watched)
    monkeypatch.setattr(reward_module, "_ANCHORS", 8)
    assert main(config(tmp_path, base, preferred(), lora=LORA | {"steps": 1})) == 0
    every, some, _ = (found.replies for found in read)
    assert len(some) == 8
    assert set(some) <= set(every)
    assert max(every.index(reply) for reply in some) > 30


def test_an_adapter_starts_from_scratch_after_a_state_of_hidden_states(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reward_module, "_CHUNK", 20)
    monkeypatch.setattr(reward_module, "_SAVE_EVERY", 1)
    lora = LORA | {"steps": 2}
    assert main(config(tmp_path, base, judged(20), lora=lora)) == 0
    assert len(record_of(tmp_path)["loss"]) == 2


def test_the_head_is_computed_in_float32_in_any_precision_of_the_decoder() -> None:
    decoder = tiny_decoder()
    weight_E = torch.randn(decoder.config.width)
    model = RewardDecoder(decoder, weight_E, 0.5, "bf16")
    seen: list[Tensor] = []
    model.head.register_forward_hook(lambda _, given, out: seen.extend((given[0], out)))
    with torch.no_grad():
        logit_N = model([(1, 2, 3), (4, 5)], 16)
    hidden_NE, out_N1 = seen
    assert hidden_NE.dtype == out_N1.dtype == torch.float32
    assert torch.equal(logit_N, (hidden_NE @ model.head.weight.T + model.head.bias)[:, 0])


def test_an_adapter_is_trained_in_bf16_with_checkpointed_layers(
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
    ("count", "more", "reason"),
    [
        (2, {}, "replies to 2 questions, of which 1 are held out"),
        (3, {"lora": LORA}, "replies to 3 questions, of which 1 are held out and 1 are set aside"),
    ],
)
def test_an_error_about_too_few_questions_counts_those_held_out(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str], count: int,
    more: dict[str, Any], reason: str,
) -> None:  # fmt: skip
    assert main(config(tmp_path, base, judged(count), **more)) == 2
    assert reason in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("logit", [-700.0, -40.0, -1.0, 0.0, 1.0, 30.0])
def test_the_odds_of_a_reward_are_those_of_its_logit(logit: float) -> None:
    head = RewardHead("preference", torch.tensor([1.0]), logit, "base")
    assert odds_of(head.reward(torch.zeros(1))) == pytest.approx(math.exp(logit), rel=1e-2)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "scripted"}, "has no weights on this machine"),
        ({"model": "no-such"}, "no model 'no-such' in the catalogue"),
        ({"held_out": 1.0}, "held_out"),
        ({"penalties": [0]}, "penalties"),
        ({"data": {"path": "none.jsonl"}}, "none.jsonl: no such file"),
        ({"data": {"benchmark": "smoke"}}, "architecture"),
        ({"lora": LORA | {"targets": ["nothing"]}}, "has no linear layer 'nothing'"),
        ({"lora": LORA | {"context": 8}}, "no reply or pair of replies fits in 8 tokens"),
        ({"lora": LORA | {"targets": ["q_proj", "lm_head"]}}, "must not contain 'lm_head'"),
    ],
)
def test_an_invalid_configuration_is_rejected_with_a_reason(
    changes: dict[str, Any], reason: str, tmp_path: Path, base: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(config(tmp_path, base, judged(8), **changes)) == 2
    assert reason in capsys.readouterr().err.replace("\n", " ")


def test_a_configuration_of_another_command_is_rejected(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = config(tmp_path, base, judged(8))
    assert main(["train", "sft", *command[2:]]) == 2
    assert "is a configuration for `archon train reward`" in capsys.readouterr().err
    assert main(["train", "reward", "sums"]) == 2
    assert "is a configuration for `archon train pretrain`" in capsys.readouterr().err
