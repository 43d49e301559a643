"""Batch sizes and prompts of a peer."""

from __future__ import annotations

import pytest
from peers_doubles import task

from archon.bench.peers.calibration import best_rows, candidate_rows, climb, num_prompts_of_round
from archon.bench.peers.contender import PeerTask, check_names
from archon.bench.workload import Workload
from archon.errors import ContextLengthError, UsageError

GRAPH = Workload(32, 16, 960, 900, 128)


def graph_task(fraction: float | None = None, round_seconds: float = 75.0) -> PeerTask:
    return task("x.gguf", workload=GRAPH, fraction=fraction, round_seconds=round_seconds)


def test_rows_are_all_samples_of_some_prompts() -> None:
    assert candidate_rows(graph_task()) == [16, 32, 64, 128]
    assert candidate_rows(graph_task(fraction=0.125)) == [16, 32, 64]
    assert candidate_rows(task("x.gguf", workload=Workload(3, 1, 9, 0, 4))) == [1, 2]
    assert candidate_rows(task("x.gguf", workload=Workload(3, 300, 9, 0, 4))) == [300]


@pytest.mark.parametrize(
    ("rates", "measured", "best"),
    [
        ({16: 50.0, 32: 90.0, 64: 95.0, 128: 94.0}, {32, 64, 128}, 64),
        ({16: 99.0, 32: 90.0, 64: 80.0, 128: 200.0}, {16, 32, 64}, 16),
        ({16: 50.0, 32: 90.0, 64: 80.0, 128: 200.0}, {16, 32, 64}, 32),
        ({16: 50.0, 32: 90.0, 64: 91.0, 128: 91.5}, {32, 64, 128}, 32),
    ],
)
def test_climbing_finds_the_best_rows(
    rates: dict[int, float], measured: set[int], best: int
) -> None:
    found = climb([16, 32, 64, 128], {32: rates[32]}, rates.__getitem__)
    assert set(found) == measured
    assert best_rows(found) == best


def test_a_round_has_the_requested_length_in_complete_batches() -> None:
    # 64 rows are 4 prompts: 8,192 tokens, about 82 s at 100 tokens/s.
    assert num_prompts_of_round(graph_task(), 64, 100) == 4
    assert num_prompts_of_round(graph_task(), 16, 100) == 4
    assert num_prompts_of_round(graph_task(), 128, 10) == 8
    assert num_prompts_of_round(graph_task(), 64, 1e6) == 32
    assert num_prompts_of_round(graph_task(fraction=0.2), 64, 100) == 4
    assert num_prompts_of_round(graph_task(fraction=1.0), 64, 1.0) == 32
    assert num_prompts_of_round(graph_task(fraction=0.001), 16, 1.0) == 1


def test_every_round_has_new_prompts_of_the_workload() -> None:
    given = task("x.gguf")
    first = given.prompts(0, 4)
    assert given.prompts(0, 2) == first[:2]
    assert len({ids[:8] for ids in first}) == 1
    assert len(set(first)) == 4
    assert given.prompts(1, 1)[0][:8] != first[0][:8]


def test_a_task_survives_json() -> None:
    assert PeerTask.from_json(task("x.gguf").to_json()) == task("x.gguf")


def test_sequences_longer_than_the_context_are_rejected() -> None:
    with pytest.raises(ContextLengthError, match="of 18 tokens"):
        task("x.gguf").check(context_length=17)


@pytest.mark.parametrize("names", [["archon", "llama.cp"], ["archon", "archon"], [""]])
def test_unknown_and_repeated_contenders_are_rejected(names: list[str]) -> None:
    with pytest.raises(UsageError):
        check_names(names)
