"""Rounds in turn: every contender once, then again in the opposite order, and so on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from archon.bench.machine import available_memory_bytes
from archon.bench.peers.contender import CONTENDERS, Round, Task, missing_package, precision_of
from archon.bench.peers.process import ContenderProcess
from archon.errors import ArchonError

_SPARE_BYTES = 3 << 30
_BYTES_PER_FILE_BYTE = 4


@dataclass(slots=True)
class Entry:
    """What one contender did."""

    name: str
    task: Task
    settings: dict[str, Any] | None = None
    rounds: list[Round] = field(default_factory=list)
    failure: str | None = None

    @property
    def rates(self) -> list[float]:
        """Completion tokens a second of each round, scaled to the whole workload."""
        return [r.tokens_per_second(self.task.workload.num_prompts) for r in self.rounds]

    @property
    def is_archon(self) -> bool:
        return self.name.split("-")[0] == "archon"

    def figures(self) -> dict[str, Any]:
        """As a report has it."""
        return {
            "name": self.name,
            "completion_tokens_per_second": median(self.rates) if self.rates else None,
            "rounds": [
                {**asdict(r), "completion_tokens_per_second": rate}
                for r, rate in zip(self.rounds, self.rates, strict=True)
            ],
            "settings": self.settings,
            "failure": self.failure,
        }


@dataclass(slots=True)
class Comparison:
    """All of them, and whether somebody stopped it before its end."""

    entries: list[Entry]
    interrupted: bool = False

    def ratios(self) -> list[dict[str, Any]]:
        """For each of Archon's entries and each peer: the median of the rounds' ratios."""
        return [
            {"archon": ours.name, "peer": peer.name, **ratio(ours.rates, peer.rates)}
            for ours in self.entries
            if ours.is_archon and ours.rates
            for peer in self.entries
            if not peer.is_archon and peer.rates
        ]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """How many times as fast, round by round: median, least and most.

    >>> ratio([6.0, 8.0], [2.0, 2.0])
    {'ratio': 3.5, 'lowest': 3.0, 'highest': 4.0}
    """
    paired = [a / b for a, b in zip(ours, theirs, strict=False)]
    return {"ratio": median(paired), "lowest": min(paired), "highest": max(paired)}


def compare(
    names: Sequence[str], task: Task, pairs: int, tell: Callable[[str], None]
) -> Comparison:
    """Run every contender ``pairs`` times in turn.

    One that fails, or whose package is not installed, is told of and left out from then on; the
    others go on. An interrupt ends all processes and returns what is finished.

    Raises
    ------
    MissingExtraError : not one of them is installed.
    """
    missing = {name: missing_package(name) for name in names}
    for error in filter(None, missing.values()):
        if all(missing.values()):
            raise error
    entries = [Entry(name, _task_of(name, task)) for name in names]
    for entry in entries:
        if missing[entry.name] is not None:
            _leave_out(entry, str(missing[entry.name]), tell)
    comparison = Comparison(entries)
    processes = _Processes(tell)
    try:
        for number in range(pairs):
            for entry in entries if number % 2 == 0 else reversed(entries):
                if entry.failure is None:
                    _run_round(entry, number, processes, tell)
    except KeyboardInterrupt:
        comparison.interrupted = True
    finally:
        processes.close()
    return comparison


def _task_of(name: str, task: Task) -> Task:
    return replace(task, precision=precision_of(name, task.precision))


def _run_round(
    entry: Entry, number: int, processes: _Processes, tell: Callable[[str], None]
) -> None:
    try:
        entry.rounds.append(processes.of(entry).run(number))
    except ArchonError as error:
        processes.forget(entry.name)
        _leave_out(entry, str(error), tell)
        return
    took = entry.rounds[-1].seconds
    tell(f"round {number + 1}: {entry.name} {entry.rates[-1]:.1f} tokens/s ({took:.0f} s)")


def _leave_out(entry: Entry, reason: str, tell: Callable[[str], None]) -> None:
    entry.failure = reason
    tell(f"{entry.name} is left out: {reason}")


class _Processes:
    """The contenders that are loaded: all of them, as long as there is memory for all."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._running: dict[str, ContenderProcess] = {}

    def of(self, entry: Entry) -> ContenderProcess:
        """An entry's process, started where there is none."""
        if entry.name not in self._running:
            self._make_room(entry)
            self._tell(f"loading {entry.name}")
            process = ContenderProcess(CONTENDERS[entry.name], entry.task, entry.settings)
            self._running[entry.name] = process
            entry.settings = process.settings
        return self._running[entry.name]

    def forget(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process is not None:
            process.close()

    def close(self) -> None:
        for name in list(self._running):
            self.forget(name)

    def _make_room(self, entry: Entry) -> None:
        available = available_memory_bytes()
        needed = _SPARE_BYTES + _BYTES_PER_FILE_BYTE * _num_bytes(Path(entry.task.path))
        if self._running and available is not None and available < needed:
            self._tell(f"short of memory: unloading {', '.join(self._running)}")
            self.close()


def _num_bytes(path: Path) -> int:
    """Of a file, or of all files in a folder."""
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
