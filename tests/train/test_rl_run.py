"""Complete trainings of tiny random models by rewards, through the command."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rl_doubles import CPU
from tiny_folders import write_folder
from tiny_models import TinyModel

import archon
from archon.cli import main
from archon.engine.loading import open_model
from archon.engine.model.weights import weights_of
from archon.errors import LMError, ScoringError
from archon.lm.local.chat import ChatFormat
from archon.reasoning import PUBLISHED_MARKERS
from archon.spec.model import LocalCard
from archon.spec.reader import load_training
from archon.train.base_model import base_card
from archon.train.decoder import decoder_of
from archon.train.folder import TrainingFolder
from archon.train.objectives.reinforcement import Reinforcement
from archon.train.rl import rewards as rewards_module
from archon.train.rl.rollouts import Rollout
from archon.train.rl.setup import set_up
from archon.train.rl.tasks import RLTask
from archon.train.trainer import Trainer
from archon.types import Message, Question

COMMON: dict[str, Any] = {
    "version": 1, "name": "tiny", "held_out": 2, "context": 96, "rows": 4, "steps": 4,
    "learning_rate": 0.01, "warmup_steps": 1, "save_every": 2, "prompts": 2, "group": 3,
    "max_tokens": 5, "data": {"path": "data.jsonl"}, "reward": {"model": "./judge.json"},
    "lora": {"rank": 4},
}  # fmt: skip


@pytest.fixture
def base(tmp_path: Path) -> Path:
    rows = [{"prompt": f"say {i}", "completion": f"The answer is {i}."} for i in range(12)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    judge = {"version": 1, "name": "judge", "backend": "scripted", "reward": True}
    (tmp_path / "judge.json").write_text(json.dumps(judge))
    return write_folder(tmp_path / "base", TinyModel("qwen2"))


def command(path: Path, base: Path, training: str = "grpo", **changes: Any) -> list[str]:
    spec = COMMON | {"training": training, "model": str(base)} | changes
    file = path / "config.json"
    file.write_text(json.dumps({key: value for key, value in spec.items() if value is not None}))
    return ["train", training, str(file), "--output", str(path / "out"), "--device", "cpu"]


def record_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "out" / "training.json").read_text())
    return found


def weights_in(path: Path) -> bytes:
    [file] = (path / "out").glob("*/*model.safetensors")
    return file.read_bytes()


def test_an_adapter_is_trained_by_a_reward_model_and_then_resumed(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command(tmp_path, base, kl_coefficient=0.1), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["trained_parameters"] < result["parameters"]
    assert (result["questions"], result["before"]["num_held_out"]) == (10, 2)
    assert result["steps"][0]["kl"] == 0 < result["steps"][-1]["kl"]
    out = tmp_path / "out"
    assert {p.name for p in out.iterdir()} == {
        ".lock", "adapter", "card.json", "reward.svg", "training.json"
    }  # fmt: skip
    assert "<polyline" in (out / "reward.svg").read_text()
    plain = archon.load("single", models={"solver": str(base)}).run("say 3")
    adapted = archon.load("single", models={"solver": str(out / "card.json")}).run("say 3")
    assert plain.text != adapted.text
    again = tmp_path / "again"
    again.mkdir()
    made = str(out / "card.json")
    changes = {"lora": None, "data": {"path": str(tmp_path / "data.jsonl")}}
    changes["reward"] = {"model": str(tmp_path / "judge.json")}
    assert main(command(again, Path(made), **changes)) == 0
    assert record_of(again)["before"] == result["after"]
    assert main(command(tmp_path, Path(made))) == 2
    assert main([*command(again, Path(made), **changes | {"lora": {"rank": 2}}), "--resume"]) == 2
    assert "contains another training" in capsys.readouterr().err


def test_an_error_of_the_chat_template_is_reported(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise LMError("the chat template takes no system message")

    monkeypatch.setattr(ChatFormat, "encode", refuse)
    assert main(command(tmp_path, base)) == 2
    assert "$.prompt: the chat template takes no system" in capsys.readouterr().err


def test_a_benchmark_rewards_by_its_scorer_and_a_full_training_writes_a_folder(
    tmp_path: Path, base: Path
) -> None:
    changes = {"data": {"benchmark": "smoke"}, "reward": None, "lora": None, "last_layers": 1}
    asked = command(tmp_path, base, "ppo", **changes, context=256, steps=1, dtype="bf16")
    assert main(asked) == 0
    record = record_of(tmp_path)
    assert record["questions"] + 2 <= 16  # the search split alone
    assert "step by step" in record["before"]["samples"][0]["shown"]
    assert {sample["reward"] for sample in record["before"]["samples"]} <= {0.0, 1.0}
    decoder_of(weights_of(open_model(tmp_path / "out" / "model")))
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert (card["sources"], card["prompt"]) == ([{"path": "model"}], {})


def test_a_custom_function_computes_rewards(tmp_path: Path, base: Path) -> None:
    loaded = load_training(command(tmp_path, base, reward=None, steps=1)[2])
    spec = loaded.spec
    assert spec.training == "grpo"
    seen: list[RLTask] = []

    def reward(task: RLTask, texts: Any) -> list[float]:
        seen.append(task)
        return [float(len(text)) for text in texts]

    card = LocalCard(name="base", backend="local", sources=[{"path": str(base)}])  # type: ignore
    prepared = set_up(spec, card, tmp_path, tmp_path, CPU, reward)
    folder = TrainingFolder(tmp_path / "out", spec.model_dump(mode="json"), resume=False)
    record = Trainer(Reinforcement(spec, prepared, folder, CPU), folder, spec.name).run()
    assert record["before"]["held_out_reward"] > 0
    assert seen[0].messages[0].content.startswith("say ")
    assert seen[0].target is not None
    assert seen[0].target.startswith("The answer is")
    for wrong in ([1.0], [float("nan")] * 3):
        prepared = set_up(
            spec, card, tmp_path, tmp_path, CPU, lambda task, texts, wrong=wrong: wrong
        )
        folder = TrainingFolder(tmp_path / f"out{len(wrong)}", {}, resume=False)
        with pytest.raises(ScoringError, match="one finite number per reply"):
            Reinforcement(spec, prepared, folder, CPU)._rewards(
                prepared.tasks[:1], [[_reply()] * 3]
            )


@pytest.mark.parametrize("template", [None, "bare", "brief", "conversation"])
def test_a_reward_model_reads_the_prompt_of_its_card(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch, template: str | None
) -> None:
    judge: dict[str, Any] = {"version": 1, "name": "judge", "backend": "scripted", "reward": True}
    if template is not None:
        own = {"text": "Briefly: {question}"} if template == "brief" else {"template": template}
        judge["prompt"] = own
    (tmp_path / "judge.json").write_text(json.dumps(judge))
    asked: list[tuple[Message, ...]] = []

    class Recorder:
        def open(self) -> None: ...

        async def score(self, messages: tuple[Message, ...], texts: Any) -> list[float]:
            asked.append(messages)
            return [0.5 for _ in texts]

    monkeypatch.setattr(rewards_module, "shared_lm", lambda *_: Recorder())
    prompt = {"text": "Please {question}", "system": "Obey."}
    spec = load_training(command(tmp_path, base, prompt=prompt)[2]).spec
    assert spec.training == "grpo"
    card = LocalCard(name="base", backend="local", sources=[{"path": str(base)}])  # type: ignore
    task = set_up(spec, card, tmp_path, tmp_path, CPU).tasks[0]
    read = (Message("system", "Obey."), Message("user", f"Please {task.question.text}"))
    assert task.messages == read
    prepared = set_up(spec, card, tmp_path, tmp_path, CPU)
    assert prepared.reward(task, ["a", "b"]) == [0.5, 0.5]
    bare = (Message("user", task.question.text),)
    brief = (Message("user", f"Briefly: {task.question.text}"),)
    assert asked == [{"conversation": read, "brief": brief}.get(template or "", bare)]


def test_the_written_card_finds_the_examples_of_the_training(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"question": "What is 1 + 1?", "answer": "1 + 1 = 2 #### 2"}
    (tmp_path / "pool.jsonl").write_text(json.dumps(row))
    prompt = {"template": "bare", "shots": 1, "examples": "pool.jsonl"}
    changes = {"data": {"benchmark": "smoke"}, "reward": None, "context": 256, "steps": 1}
    assert main(command(tmp_path, base, **changes, prompt=prompt)) == 0
    monkeypatch.chdir(tmp_path / "out")
    card = tmp_path / "out" / "card.json"
    pool = str(tmp_path / "pool.jsonl")
    assert json.loads(card.read_text())["prompt"] == prompt | {"examples": pool}
    answer = archon.load("single", models={"solver": str(card)}).run("What is 2 + 2?")
    assert "What is 1 + 1?" in str(answer.trace.to_json())
    made = LocalCard.model_validate(json.loads(card.read_text()) | {"prompt": prompt})
    assert base_card(made, tmp_path)["prompt"]["examples"] == pool


def _reply() -> Any:
    from archon.train.rl.rollouts import Rollout

    return Rollout((1, 2, 3), 1, (-1.0, -1.0), False)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"reward": None}, "$.reward: required; set it to"),
        ({"reward": {"score": "number-exat"}}, "did you mean 'number-exact'"),
        ({"reward": {"model": "scripted"}}, "'scripted' is not a reward model"),
        ({"reward": {"scorer": "x"}}, "'score', 'model'"),
        ({"data": {"benchmark": "nowhere"}}, "no benchmark named 'nowhere'"),
        ({"data": {"path": "none.jsonl"}}, "none.jsonl"),
        ({"data": {"path": "judge.json"}}, "a line must have 'prompt'"),
        (
            {"data": {"path": "bare.jsonl"}, "reward": {"score": "number-exact"}},
            "contains no number",
        ),
        ({"prompt": {"template": "ct"}}, "$.prompt: there is no template 'ct' for a generator"),
        ({"held_out": 12}, "no questions are left for training"),
        ({"max_tokens": 90}, "do not fit in 97 tokens with a reply of 90 tokens"),
        ({"lora": {"rank": 4, "dropout": 0.1}}, "'lora.dropout' must be 0"),
        ({"group": 1}, "$.group"),
        ({"gamma": 1}, "gamma"),
        ({"model": "scripted"}, "has no weights on this machine"),
        ({"model": "scorer.json"}, "scorer is a reward model"),
        (
            {
                "data": {"benchmark": "smoke"},
                "reward": None,
                "context": 256,
                "prompt": {"template": "program"},
            },
            "$.prompt: the 'program' template asks for a program",
        ),
        ({"data": {"benchmark": "sums.py:rows"}}, "no benchmark named 'sums.py:rows'"),
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
    (tmp_path / "bare.jsonl").write_text('{"prompt": "say 1"}\n')
    scorer = {"version": 1, "name": "scorer", "backend": "local", "reward": "./head"}
    scorer |= {"sources": [{"path": str(base)}]}
    (tmp_path / "scorer.json").write_text(json.dumps(scorer))
    assert main(command(tmp_path, base, **changes)) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("prompt", "reply", "rewarded"),
    [
        ("hi", "The answer is 4.", "The answer is 4."),
        ("hi", "<think>4?</think>The answer is 5.", "The answer is 5."),
        ("hi", "<think>The answer is 4", ""),
        ("hi<think>\n", "The answer is 4", ""),
        ("hi<think>\n", "4?</think>\n5", "5"),
    ],
)
def test_only_the_answer_of_a_reply_is_rewarded(prompt: str, reply: str, rewarded: str) -> None:
    reasoning = SimpleNamespace(
        decode=lambda ids: "".join(map(chr, ids)), markers=PUBLISHED_MARKERS
    )
    run = Reinforcement.__new__(Reinforcement)
    run._setup = SimpleNamespace(reasoning=reasoning)  # type: ignore[assignment]
    ids = tuple(map(ord, prompt))
    task = RLTask(Question("hi"), (), ids, None)
    rollout = Rollout((*ids, *map(ord, reply)), len(ids), (), is_ended=False)
    assert run._answer(task, rollout) == rewarded
