"""Training of a new head on a tiny encoder, through the command."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from tiny_trainings import write_encoder

import archon
from archon.cli import main
from archon.engine.encoders.weights import load_encoder, load_text_classifier
from archon.engine.files.folder import ModelFolder
from archon.lm.local.encoder_tokenizer import encoder_tokenizer, padded
from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.train.objectives.classify import labelled_texts

LETTERS = "abcdefgh"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder"), LETTERS)


def command(
    path: Path, encoder: Path, labels: tuple[Any, ...], pairs: bool = False, **changes: Any
) -> list[str]:
    """Write texts, or replies to a question, whose class depends on their most frequent letter."""
    random, rows = Random(0), []
    for index in range(120):
        label = index % len(labels)
        letters = [LETTERS[label]] * 5 + random.choices(LETTERS[4:], k=3)
        random.shuffle(letters)
        text = " ".join(letters)
        row = {"prompt": "h", "completion": text} if pairs else {"text": text}
        rows.append(row | {"label": labels[label]})
    (path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    card = {"name": "tiny", "backend": "local", "transformer": "sentence-encoder",
            "sources": [{"path": str(encoder)}]}  # fmt: skip
    (path / "encoder.json").write_text(json.dumps(card))
    spec = {
        "version": 1, "training": "classify", "name": "tiny", "model": "./encoder.json",
        "data": {"path": "data.jsonl"}, "held_out": 30, "rows": 16, "steps": 40,
        "learning_rate": 0.02, "warmup_steps": 2,
    }  # fmt: skip
    (path / "config.json").write_text(json.dumps(spec | changes))
    return ["train", "classify", str(path / "config.json"), "--output", str(path / "out"),
            "--device", "cpu"]  # fmt: skip


@pytest.mark.parametrize(("body", "steps"), [("whole", 40), ("frozen", 200)])
def test_classes_are_learned_and_transformers_computes_the_same(
    tmp_path: Path, encoder: Path, body: str, steps: int
) -> None:
    transformers = pytest.importorskip("transformers")
    asked = command(tmp_path, encoder, ("red", "blue", "green"), body=body, steps=steps)
    assert main(asked) == 0
    out = tmp_path / "out"
    record = json.loads((out / "training.json").read_text())
    assert record["before"]["held_out_accuracy"] < 0.7 < 0.9 < record["after"]["held_out_accuracy"]
    assert record["classes"] == ["blue", "green", "red"]
    assert not (out / "card.json").exists()  # no role has three classes
    folder = ModelFolder(out / "model")
    before, after = load_encoder(ModelFolder(encoder)), load_encoder(folder)
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs) == (body == "frozen")
    batch = padded(encoder_tokenizer(folder, 16).encode_batch(["a b a", "c c"]))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        auto = transformers.AutoModelForSequenceClassification
        theirs = auto.from_pretrained(out / "model").eval()
        expected = theirs(batch.ids_BT, attention_mask=batch.is_token_BT.long()).logits
        found = load_text_classifier(folder)(batch.ids_BT, batch.is_token_BT)
    assert theirs.config.id2label == {0: "blue", 1: "green", 2: "red"}
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_truncated_texts_are_counted(
    tmp_path: Path, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, encoder, (0, 1), steps=2, context=9)) == 0  # 8 letters, 2 marks
    assert json.loads((tmp_path / "out" / "training.json").read_text())["cut"] == 120
    assert "120 texts are longer than the context" in capsys.readouterr().err
    other = tmp_path / "other"
    other.mkdir()
    assert main(command(other, encoder, (0, 1), steps=2)) == 0
    assert json.loads((other / "out" / "training.json").read_text())["cut"] == 0


@pytest.mark.parametrize(
    ("labels", "good", "best"),
    [
        ((0, 1), None, "b b b b b e"),
        ((0, 1), 0, "a a a a a e"),
        (("correct", "incorrect"), "correct", "a a a a a e"),
        (("incorrect", "correct"), "correct", "b b b b b e"),
    ],
)
def test_pairs_in_two_classes_make_a_reward_model(
    tmp_path: Path,
    encoder: Path,
    labels: tuple[Any, ...],
    good: str | int | None,
    best: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(command(tmp_path, encoder, labels, pairs=True, good=good)) == 0
    rewarded = 1 if good is None else good
    assert f"the reward is the probability of the class {rewarded}" in capsys.readouterr().out
    spec = {
        "version": 1, "name": "best", "output": "best",
        "models": {"s": "scripted", "j": str(tmp_path / "out" / "card.json")},
        "nodes": {
            "draft": {"type": "generator", "model": "s", "samples": 2},
            "best": {"type": "ranker", "model": "j", "inputs": ["draft"], "method": "reward"},
        },
    }  # fmt: skip
    scripted = ScriptedLM(in_turn(["a a a a a e", "b b b b b e"]))
    answer = archon.load(spec, models={"s": scripted}).run("h")
    assert answer.text == best


@pytest.mark.parametrize(
    ("labels", "pairs"), [((0, 1), False), (("correct", "incorrect"), True), ((1, 2), True)]
)
def test_no_card_is_written_unless_pairs_have_a_known_good_class(
    tmp_path: Path,
    encoder: Path,
    labels: tuple[Any, ...],
    pairs: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(command(tmp_path, encoder, labels, pairs, steps=2)) == 0
    assert not (tmp_path / "out" / "card.json").exists()
    assert "probability of the class" not in capsys.readouterr().out


def test_an_interrupted_training_is_resumed(tmp_path: Path, encoder: Path) -> None:
    asked = command(tmp_path, encoder, (0, 1), steps=6, save_every=2)
    assert main(asked) == 0
    weights = (tmp_path / "out" / "model" / "model.safetensors").read_bytes()
    from archon.train.optimization import Optimization

    other = [*asked[:3], "--output", str(tmp_path / "other"), "--device", "cpu"]
    take, calls = Optimization.step, []

    def interrupted(self: Any, parts: Any) -> float:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return take(self, parts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Optimization, "step", interrupted)
        assert main(other) == 130
    assert main([*other, "--resume"]) == 0
    assert (tmp_path / "other" / "model" / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "a", "label": true}', "must be a string or an integer"),
        ('{"text": "a", "label": 1}', "either all labels must be strings or all"),
        ('{"text": "", "label": "x"}', "must not be blank"),
        ('{"text": "a"}', "a line must have 'text' and 'label'"),
        ('{"text": "a", "label": "x"}', "at least two different labels, not 1"),
    ],
)
def test_a_malformed_labelled_text_is_rejected(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "data.jsonl").write_text('{"text": "b", "label": "x"}\n' + line)
    with pytest.raises(archon.SpecError, match=reason):
        labelled_texts(tmp_path / "data.jsonl", "data.jsonl")


def test_pairs_are_read(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "completion": "c", "label": 3}, {"text": "t", "label": -1}]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    texts, labels = labelled_texts(tmp_path / "data.jsonl", "data.jsonl")
    assert [(text.text, text.label) for text in texts] == [(("p", "c"), 1), ("t", 0)]
    assert labels == ("-1", "3")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "smollm2-135m"}, "not an encoder"),
        ({"held_out": 120}, "no texts are left for training"),
        ({"checkpoint_layers": True}, "for decoders"),
        ({"body": "half"}, "$.body"),
        ({"good": 1}, "$.good: 'good' requires lines"),
        ({"good": "1"}, "no line has the label '1', which 'good'"),
        ({"good": True}, "$.good"),
    ],
)
def test_an_invalid_training_is_rejected_with_a_reason(
    tmp_path: Path,
    encoder: Path,
    changes: dict[str, Any],
    reason: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("archon.weights.find", lambda *given: Path("here"))
    assert main(command(tmp_path, encoder, (0, 1), **changes)) == 2
    assert reason in capsys.readouterr().err
