"""Reward models trained on replies sampled by an architecture, and their use in a graph."""

from __future__ import annotations

import asyncio
import json
import signal
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch
from reward_doubles import LORA, config, judged, record_of, rewards_of, write_base
from train_doubles import write_lines

import archon
from archon.cli import main
from archon.engine.loading import open_model
from archon.engine.model.lora_config import read_adapter, write_adapter
from archon.engine.model.reward_head import read_reward_head
from archon.engine.model.weights import weights_of
from archon.evals.journal import JournalWriter
from archon.evals.run import read_run
from archon.lm.local.reward import DecoderReward
from archon.train.decoder import decoder_of
from archon.train.lora import adapter_of, add_adapter


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path)


def test_a_head_is_fitted_to_hidden_states_with_the_adapter_of_its_card(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = decoder_of(weights_of(open_model(tmp_path / "base")))
    add_adapter(model, ["q_proj", "down_proj"], 2, 4, 0.0, seed=3)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if name.endswith("lora_B.weight"):
            torch.nn.init.normal_(parameter, std=0.2, generator=generator)
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
    assert main(config(other, base, judged())) == 0  # without the adapter, hidden states differ
    assert not torch.equal(read_reward_head(other / "out" / "reward").weight_E, head.weight_E)
    capsys.readouterr()
    refused = tmp_path / "refused"
    refused.mkdir()
    assert main(config(refused, adapted, judged(), lora=LORA)) == 2
    assert "remove 'lora'" in capsys.readouterr().err.replace("\n", " ")


def sampling(tmp_path: Path, base: Path, **changes: Any) -> list[str]:
    """Return the command that trains on sampled replies to sums, about half of them right."""
    items = [{"id": f"i{n}", "question": f"{n} + 1?", "answer": str(n)} for n in range(90)]
    write_lines(tmp_path / "items.jsonl", items)
    bench = {
        "version": 1, "name": "tiny", "source": {"jsonl": "items.jsonl"},
        "answer": "number", "score": "number-exact",
    }  # fmt: skip
    (tmp_path / "bench.json").write_text(json.dumps(bench))
    card = {"name": "solver", "backend": "scripted", "accuracy": 0.5}
    architecture = {
        "version": 1, "name": "sampled", "models": {"solver": card},
        "nodes": {
            "draft": {"type": "generator", "model": "solver", "samples": 4},
            "vote": {"type": "vote", "inputs": ["draft"]},
        },
        "output": "vote",
    }  # fmt: skip
    (tmp_path / "sampled.json").write_text(json.dumps(architecture))
    data = {"benchmark": "./bench.json", "architecture": "./sampled.json", "items": 12, "epochs": 2}
    return config(tmp_path, base, judged(), data=data | changes)


def test_replies_are_sampled_on_the_search_split_and_saved(tmp_path: Path, base: Path) -> None:
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
    assert main(config(again, base, kept)) == 0  # now without sampling
    other = record_of(again)
    assert (other["before"], other["penalty"]) == (record["before"], record["penalty"])


def test_a_trained_card_ranks_and_weights_votes_in_a_graph(tmp_path: Path, base: Path) -> None:
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


def test_sampling_resumes_after_an_interrupt(
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
