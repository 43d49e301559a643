"""Interleaved rounds of contenders in their own processes, some of which fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from peers_doubles import task

from archon.bench.child_process import ChildError
from archon.bench.peers import peer_comparison as comparing
from archon.bench.peers.contender import CONTENDERS, ContenderKind, Round
from archon.bench.peers.contender_process import ContenderProcess
from archon.bench.peers.peer_comparison import Comparison, ContenderEntry, compare
from archon.errors import MissingExtraError

pytestmark = pytest.mark.usefixtures("doubles")


@pytest.fixture
def weights(tmp_path: Path) -> str:
    path = tmp_path / "weights.gguf"
    path.write_bytes(b"weights")
    return str(path)


def test_rounds_are_interleaved_in_alternating_order(weights: str) -> None:
    reports: list[str] = []
    comparison = compare(["fake", "crashing", "dying"], task(weights), 2, reports.append)
    ran = [
        line.split(":")[0] + line.split(":")[1].split()[0] for line in reports if "round" in line
    ]
    assert ran == ["round 1fake", "round 1dying", "round 2fake"]
    assert not comparison.interrupted


def test_a_round_of_some_prompts_is_scaled_to_the_workload(weights: str) -> None:
    (entry,) = compare(["fake"], task(weights), 2, lambda _: None).entries
    assert entry.rates == [10, 20]
    assert entry.figures()["completion_tokens_per_second"] == 15


def test_the_shared_prefix_is_not_scaled() -> None:
    # 4 of 32 prompts: 1 s for the prefix, 8 s for the rest, so 1 + 64 s for all.
    one = Round(num_prompts=4, completion_tokens=80, seconds=9.0, once_seconds=1.0)
    assert one.tokens_per_second(32) == pytest.approx(640 / 65)


def test_a_failing_contender_is_excluded_and_the_others_continue(weights: str) -> None:
    reports: list[str] = []
    names = ["refusing", "crashing", "dying", "fake"]
    comparison = compare(names, task(weights), 2, reports.append)
    by_name = {entry.name: entry for entry in comparison.entries}
    assert by_name["refusing"].failure == "these weights are none"
    assert "ZeroDivisionError: by nought" in (by_name["crashing"].failure or "")
    assert "signal 9" in (by_name["dying"].failure or "")
    assert len(by_name["dying"].rounds) == 1
    assert len(by_name["fake"].rounds) == 2
    assert sum("is excluded" in line for line in reports) == 3


def test_a_missing_package_is_reported_and_the_others_run(
    weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_kind = ContenderKind("peers_doubles:Slow", "no_such_package")
    monkeypatch.setitem(CONTENDERS, "slow", slow_kind)
    slow, fake = compare(["slow", "fake"], task(weights), 1, lambda _: None).entries
    assert slow.failure is not None
    assert "pip install 'archon-inference[peers]'" in slow.failure
    assert len(fake.rounds) == 1


def test_if_all_packages_are_missing_an_error_names_one(
    weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_kind = ContenderKind("peers_doubles:Fake", "no_such_package")
    monkeypatch.setitem(CONTENDERS, "fake", fake_kind)
    with pytest.raises(MissingExtraError, match="no_such_package"):
        compare(["fake"], task(weights), 1, lambda _: None)


def test_an_interrupt_ends_the_children_and_keeps_finished_rounds(weights: str) -> None:
    pids: list[int] = []

    def on_report(line: str) -> None:
        if line == "loading slow":
            threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT)).start()

    comparison = compare(["fake", "slow"], task(weights), 1, on_report)
    fake, slow = comparison.entries
    assert comparison.interrupted
    assert (len(fake.rounds), len(slow.rounds)) == (1, 0)
    pids = [entry.settings["process"] for entry in comparison.entries if entry.settings]
    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_low_memory_unloads_idle_contenders_but_keeps_their_settings(
    weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "available_memory_bytes", lambda: 1 << 20)
    reports: list[str] = []
    names = ["fake", "dying"]
    (fake, _) = compare(names, task(weights), 1, reports.append).entries
    first = fake.settings
    assert "short of memory: unloading fake" in reports
    process = ContenderProcess("peers_doubles:Fake", task(weights), first)
    assert process.settings == first
    process.close()


def test_a_child_loads_torch_only_for_its_contender() -> None:
    module = "archon.bench.peers.contender_process"
    script = f"import sys, {module}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_waiting_child_uses_no_cpu_time(weights: str) -> None:
    process = ContenderProcess("peers_doubles:Fake", task(weights))
    stat = Path(f"/proc/{process.settings['process']}/stat")
    if not stat.exists():
        pytest.skip("needs /proc")
    process.run(0)
    before = stat.read_text().split()[13:15]
    time.sleep(0.3)
    assert stat.read_text().split()[13:15] == before
    process.close()


def test_the_error_of_an_ended_child_has_its_last_line(weights: str) -> None:
    process = ContenderProcess("peers_doubles:Crashing", task(weights))
    with pytest.raises(ChildError, match="ended with status 1: ZeroDivisionError"):
        process.run(0)


def test_ratios_are_of_archon_to_peers_per_round(weights: str) -> None:
    given = task(weights)

    def entry(name: str, *seconds: float) -> ContenderEntry:
        return ContenderEntry(name, given, {}, [Round(4, 48, s) for s in seconds])

    entries = [entry("archon", 1, 2), entry("archon-bf16"), entry("fake", 4, 4), entry("slow", 8)]
    ratios = Comparison(entries).ratios()
    assert [(r["archon"], r["peer"]) for r in ratios] == [("archon", "fake"), ("archon", "slow")]
    assert (ratios[0]["lowest"], ratios[0]["ratio"], ratios[0]["highest"]) == (2, 3, 4)
    assert ratios[1]["ratio"] == 8
