"""Complete trainings of tiny random models, through the command."""

from __future__ import annotations

import json
import signal
import warnings
from pathlib import Path
from typing import Any, NoReturn, get_args

import pytest
import torch
from engine_doubles import FAMILY_SAMPLE
from safetensors.torch import load_file
from tiny_folders import write_folder
from tiny_models import TinyModel

import archon
from archon.cli import main
from archon.engine.loading import open_model
from archon.engine.model.weights import weights_of
from archon.lm.local.tokenizer import read_tokenizer_config
from archon.spec.model import LocalCard
from archon.spec.reader import load_training
from archon.spec.training import DecoderShape, PretrainSpec, SampledReplies, SFTSpec
from archon.storage.lock import locked
from archon.train.decoder import decoder_of
from archon.train.folder import TrainingFolder
from archon.train.objectives.sft import open_objective
from archon.train.optimization import Optimization, Schedule
from archon.train.trainer import Start

SHAPE = {"num_layers": 1, "width": 32, "ffn_width": 32, "num_heads": 2, "num_kv_heads": 1}
COMMON = {
    "version": 1, "name": "tiny", "held_out": 4, "samples": 2, "sample_tokens": 4, "context": 96,
    "rows": 2, "steps": 6, "learning_rate": 0.01, "warmup_steps": 1, "save_every": 2,
}  # fmt: skip


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "data.jsonl").write_text(
        "\n".join(json.dumps({"prompt": f"say {i}", "completion": f"{i}!"}) for i in range(40))
    )
    return write_folder(tmp_path / "base", TinyModel("qwen2"))


def sft(path: Path, base: Path, **changes: Any) -> list[str]:
    spec = COMMON | {"training": "sft", "model": str(base), "data": {"path": "data.jsonl"}}
    file = path / "config.json"
    file.write_text(json.dumps(spec | {"lora": {"rank": 4, "dropout": 0.2}} | changes))
    return ["train", "sft", str(file), "--output", str(path / "out"), "--device", "cpu"]


class Unused(torch.nn.Module):
    """A layer that the loss uses, and a layer that it does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.unread = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)


def test_parameters_without_gradients_are_restored_without_moments() -> None:
    torch.manual_seed(0)
    model, other = Unused(), Unused()

    def steps(training: Optimization, count: int) -> None:
        read = training.model.read
        for _ in range(count):
            training.step([lambda: read(torch.ones(2)).square().sum()])

    training = Optimization(model, Schedule(8, warmup_steps=0))
    steps(training, 3)
    resumed = Optimization(other, Schedule(8, warmup_steps=0))
    saved = {name: tensor.clone() for name, tensor in training.state().items()}
    resumed.restore(saved, training.curve)
    steps(training, 3)
    steps(resumed, 3)
    assert resumed.curve == training.curve
    for name, parameter in model.named_parameters():
        assert torch.equal(other.get_parameter(name), parameter)


def record_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "out" / "training.json").read_text())
    return found


def test_an_adapter_is_trained_and_its_card_runs(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*sft(tmp_path, base, steps=12, learning_rate=0.03), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["after"]["held_out_loss"] < result["before"]["held_out_loss"] - 0.5
    assert result["trained_parameters"] < result["parameters"]
    out = tmp_path / "out"
    assert {p.name for p in out.iterdir()} == {
        ".lock", "adapter", "card.json", "loss.svg", "training.json"
    }  # fmt: skip
    assert "<polyline" in (out / "loss.svg").read_text()
    card = json.loads((out / "card.json").read_text())
    plain = archon.load("single", models={"solver": str(base)}).run("say 3")
    adapted = archon.load("single", models={"solver": str(out / "card.json")}).run("say 3")
    assert card["adapter"] == "./adapter"
    assert card["prompt"] == {"template": "bare"}
    assert plain.text != adapted.text


def test_a_resumed_training_equals_an_uninterrupted_one(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(sft(tmp_path, base, accumulate=2)) == 0
    uninterrupted = record_of(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "data.jsonl").write_bytes((tmp_path / "data.jsonl").read_bytes())
    command = sft(other, base, accumulate=2)
    step = Optimization.step

    def interrupted(self: Any, parts: Any) -> float:
        loss = step(self, parts)
        if self.num_steps == 3:
            signal.raise_signal(signal.SIGINT)
        return loss

    with monkeypatch.context() as patched:
        patched.setattr(Optimization, "step", interrupted)
        assert main(command) == 130
    assert (other / "out" / "state.safetensors").is_file()
    assert main([*command, "--resume"]) == 0
    again = record_of(other)
    assert again["loss"] == uninterrupted["loss"]
    assert again["after"] == uninterrupted["after"]
    assert main([*command, "--resume"]) == 0  # finished: the report is printed again


def _never(data: SampledReplies) -> NoReturn:
    raise AssertionError(data)


def test_copies_of_a_held_out_text_are_not_learned(tmp_path: Path, base: Path) -> None:
    twice = [{"prompt": f"say {i % 20}", "completion": f"{i % 20}!"} for i in range(40)]
    twice.append({"messages": [{"role": role, "content": f"{role} {n}"} for n in range(2)
                               for role in ("user", "assistant")]})  # fmt: skip
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, twice)))
    loaded = load_training(sft(tmp_path, base)[2])
    assert isinstance(loaded.spec, SFTSpec)
    card = LocalCard.model_validate(
        {"name": "base", "backend": "local", "sources": [{"path": str(base)}]}
    )
    for seed in range(8):
        spec = loaded.spec.model_copy(update={"seed": seed, "held_out": 9})
        folder = TrainingFolder(tmp_path / f"out{seed}", {}, resume=False)
        start = Start(tmp_path, folder, torch.device("cpu"), lambda _: (card, tmp_path), _never)
        texts, held_out_texts = open_objective(spec, start).data
        assert len(held_out_texts) == 9
        learned, held_out = ({text.question for text in part} for part in (texts, held_out_texts))
        assert not learned & held_out
        assert len(learned) + len(held_out) == 21


def test_a_training_is_not_resumed_with_other_data(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, step = sft(tmp_path, base), Optimization.step

    def interrupted(self: Optimization, *given: Any) -> float:
        signal.raise_signal(signal.SIGINT)
        return step(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(Optimization, "step", interrupted)
        assert main(command) == 130
    data = tmp_path / "data.jsonl"
    before = data.read_text()
    data.write_text(before + "\n" + json.dumps({"prompt": "say 40", "completion": "40!"}))
    assert main([*command, "--resume"]) == 2
    assert "was started with other data" in capsys.readouterr().err
    data.write_text(before)
    assert main([*command, "--resume"]) == 0


@pytest.mark.parametrize(("steps", "expected"), [(6, 0), (40, 4), (5000, 100)])
def test_the_default_warm_up_is_a_tenth_of_a_short_training(steps: int, expected: int) -> None:
    file = {k: v for k, v in COMMON.items() if k != "warmup_steps"} | {"steps": steps}
    spec = {"training": "pretrain", "data": {"rule": "sums", "items": 60}, "decoder": SHAPE}
    assert PretrainSpec.model_validate(file | spec).warmup_steps == expected
    with pytest.raises(ValueError, match="never reaches its peak"):
        PretrainSpec.model_validate(file | spec | {"warmup_steps": steps + 1})


def test_a_folder_is_locked_against_other_processes(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out", "training"):
        assert main([*sft(tmp_path, base), "--resume"]) == 2
    error = capsys.readouterr().err.replace("\n", " ")
    assert f"another process is writing the training {tmp_path / 'out'}" in error
    assert not (tmp_path / "out" / "training.json").exists()
    assert main(sft(tmp_path, base)) == 0


def test_a_training_is_neither_overwritten_nor_resumed_with_other_settings(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(sft(tmp_path, base)) == 0
    assert main(sft(tmp_path, base)) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*sft(tmp_path, base, learning_rate=0.5), "--resume"]) == 2
    assert "$.learning_rate: 0.01 stored, 0.5 now" in capsys.readouterr().err


@pytest.mark.parametrize(("dtype", "kept"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_an_adapter_is_saved_in_the_number_format_of_the_training(
    tmp_path: Path, base: Path, dtype: str, kept: torch.dtype
) -> None:
    assert main(sft(tmp_path, base, dtype=dtype, steps=2)) == 0
    tensors = load_file(tmp_path / "out" / "adapter" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {kept}


@pytest.mark.parametrize("dtype", ["float32", "bf16"])
def test_only_the_last_layers_are_trained(tmp_path: Path, base: Path, dtype: str) -> None:
    command = sft(tmp_path, base, lora=None, last_layers=1, dtype=dtype, checkpoint_layers=True)
    assert main(command) == 0
    before, after = (
        decoder_of(weights_of(open_model(path))).state_dict()
        for path in (base, tmp_path / "out" / "model")
    )
    frozen = 1e-2 if dtype == "bf16" else 0
    for name, weight in before.items():
        is_trained = "layers.1." in name or name == "model.norm.weight"
        changed = (after[name] - weight).abs().max() > frozen * weight.abs().max()
        assert changed == is_trained, name


def test_a_folder_made_from_a_gguf_file_tokenizes_as_the_file_does(
    tmp_path: Path, base: Path, tiny_chat_file: Path
) -> None:
    assert main(sft(tmp_path, tiny_chat_file, lora=None, steps=1, learning_rate=1e-12)) == 0
    made = tmp_path / "out" / "model"
    old, new = (read_tokenizer_config(open_model(path)) for path in (tiny_chat_file, made))
    assert (new.special_ids, new.stop_ids, new.control_ids) == (
        old.special_ids, old.stop_ids, old.control_ids
    )  # fmt: skip
    assert new.chat_template == old.chat_template
    assert new.template_tokens == old.template_tokens
    for text in ("the answer is 12.\n\n é", "<|im_end|> ing"):
        assert new.pieces.encode(text) == old.pieces.encode(text)
    for ours, theirs in zip(
        *(
            decoder_of(weights_of(open_model(path))).state_dict().values()
            for path in (tiny_chat_file, made)
        ),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_plain_families_of_decoders_can_be_pretrained() -> None:
    assert get_args(DecoderShape.model_fields["family"].annotation) == FAMILY_SAMPLE


@pytest.mark.parametrize("family", FAMILY_SAMPLE)
def test_transformers_and_the_engine_read_a_pretrained_decoder(tmp_path: Path, family: str) -> None:
    transformers = pytest.importorskip("transformers")
    spec = COMMON | {
        "training": "pretrain", "data": {"rule": "sums", "items": 60}, "steps": 25,
        "decoder": SHAPE | {"family": family},
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(spec))
    out = tmp_path / "out"
    assert main(["train", "pretrain", str(tmp_path / "config.json"), "--output", str(out)]) == 0
    record = record_of(tmp_path)
    assert record["after"]["held_out_loss"] < 3.5 < 5 < record["before"]["held_out_loss"]
    assert record["after"]["samples"][0]["shown"].endswith("Answer:")
    answer = archon.load("single", models={"solver": str(out / "card.json")}).run("1 + 2")
    assert answer.usage.completion_tokens > 0
    ids = torch.tensor([[70, 71, 72, 90, 100]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = transformers.AutoModelForCausalLM.from_pretrained(out / "model").eval()
    ours = decoder_of(weights_of(open_model(out / "model")))
    with torch.no_grad():
        hidden = ours(ids, torch.arange(5)[None], torch.zeros_like(ids))
        torch.testing.assert_close(ours.logits(hidden), theirs(ids).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"lora": {"rank": 4, "targets": ["q_prj"]}}, "the model has"),
        ({"lora": {"rnk": 4}}, "did you mean 'rank'"),
        ({"last_layers": 1}, "either 'lora' or 'last_layers'"),
        ({"lora": None, "last_layers": 3}, "'last_layers' is 3, but base has 2 layers"),
        ({"model": "scripted"}, "has no weights on this machine"),
        ({"model": "nowhere"}, "no model 'nowhere'"),
        ({"data": {"path": "none.jsonl"}}, "none.jsonl"),
        ({"held_out": 40}, "are left for training"),
        ({"context": 8}, "40 do not fit in 8 tokens"),
        ({"training": "pretrain"}, "model"),
        ({"learning_rate": 1e30, "max_gradient_norm": 1e30}, "smaller learning_rate"),
    ],
)
def test_an_invalid_training_is_rejected_with_a_reason(
    tmp_path: Path,
    base: Path,
    changes: dict[str, Any],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(sft(tmp_path, base, **changes)) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert "Traceback" not in error
