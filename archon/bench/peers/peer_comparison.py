"""Comparison of contenders in rounds; the order of contenders alternates between rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from archon.bench.machine import available_memory_bytes, describe_machine
from archon.bench.peers.contender import CONTENDERS, PeerTask, Round, missing_package, precision_of
from archon.bench.peers.contender_process import ContenderProcess
from archon.bench.roofline import Roofline, measure_roofline
from archon.engine.model.config import DecoderConfig
from archon.errors import ArchonError

_SPARE_BYTES = 3 << 30
_BYTES_PER_FILE_BYTE = 4


@dataclass(slots=True)
class ContenderEntry:
    """A contender in a comparison, with its finished rounds."""

    name: str
    task: PeerTask
    settings: dict[str, Any] | None = None
    rounds: list[Round] = field(default_factory=list)
    failure: str | None = None

    @property
    def rates(self) -> list[float]:
        """Completion tokens per second of each round, scaled to the complete workload."""
        return [r.tokens_per_second(self.task.workload.num_prompts) for r in self.rounds]

    @property
    def is_archon(self) -> bool:
        return self.name.split("-")[0] == "archon"

    def figures(self) -> dict[str, Any]:
        """Return the contender's object in the JSON output of the command."""
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
    """Results of a comparison; some rounds are missing if it was interrupted."""

    entries: list[ContenderEntry]
    interrupted: bool = False

    def ratios(self) -> list[dict[str, Any]]:
        """Return the speed ratio of each of Archon's entries to each peer."""
        return [
            {"archon": ours.name, "peer": peer.name, **ratio(ours.rates, peer.rates)}
            for ours in self.entries
            if ours.is_archon and ours.rates
            for peer in self.entries
            if not peer.is_archon and peer.rates
        ]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Return the median, minimum and maximum of the ratios between paired rounds.

    >>> ratio([6.0, 8.0], [2.0, 2.0])
    {'ratio': 3.5, 'lowest': 3.0, 'highest': 4.0}
    """
    paired = [a / b for a, b in zip(ours, theirs, strict=False)]
    return {"ratio": median(paired), "lowest": min(paired), "highest": max(paired)}


def compare(
    names: Sequence[str], task: PeerTask, pairs: int, report: Callable[[str], None]
) -> Comparison:
    """Run ``pairs`` rounds of every contender.

    A contender is reported and excluded if it fails or its package is missing. After Ctrl-C, all
    processes are killed and the finished rounds are returned.

    Raises
    ------
    MissingExtraError
        The packages of all contenders are missing.
    """
    missing = {name: missing_package(name) for name in names}
    for error in filter(None, missing.values()):
        if all(missing.values()):
            raise error
    entries = [
        ContenderEntry(name, replace(task, precision=precision_of(name, task.precision)))
        for name in names
    ]
    for entry in entries:
        if missing[entry.name] is not None:
            _exclude(entry, str(missing[entry.name]), report)
    comparison = Comparison(entries)
    processes = _Processes(report)
    try:
        for number in range(pairs):
            for entry in entries if number % 2 == 0 else reversed(entries):
                if entry.failure is None:
                    _run_round(entry, number, processes, report)
    except KeyboardInterrupt:
        comparison.interrupted = True
    finally:
        processes.close()
    return comparison


def _run_round(
    entry: ContenderEntry, number: int, processes: _Processes, report: Callable[[str], None]
) -> None:
    try:
        entry.rounds.append(processes.of(entry).run(number))
    except ArchonError as error:
        processes.end(entry.name)
        _exclude(entry, str(error), report)
        return
    seconds = entry.rounds[-1].seconds
    report(f"round {number + 1}: {entry.name} {entry.rates[-1]:.1f} tokens/s ({seconds:.0f} s)")


def _exclude(entry: ContenderEntry, reason: str, report: Callable[[str], None]) -> None:
    entry.failure = reason
    report(f"{entry.name} is excluded: {reason}")


class _Processes:
    """Processes of the loaded contenders: all of them if memory suffices, else only the latest."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._running: dict[str, ContenderProcess] = {}

    def of(self, entry: ContenderEntry) -> ContenderProcess:
        """Return the process of a contender; start it if it is not running."""
        if entry.name not in self._running:
            self._free_memory(entry)
            self._report(f"loading {entry.name}")
            process = ContenderProcess(CONTENDERS[entry.name].load, entry.task, entry.settings)
            self._running[entry.name] = process
            entry.settings = process.settings
        return self._running[entry.name]

    def end(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process is not None:
            process.close()

    def close(self) -> None:
        for name in list(self._running):
            self.end(name)

    def _free_memory(self, entry: ContenderEntry) -> None:
        available = available_memory_bytes()
        needed = _SPARE_BYTES + _BYTES_PER_FILE_BYTE * _num_bytes(Path(entry.task.path))
        if self._running and available is not None and available < needed:
            self._report(f"short of memory: unloading {', '.join(self._running)}")
            self.close()


def _num_bytes(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def rooflines(config: DecoderConfig, comparison: Comparison, threads: int) -> dict[str, Roofline]:
    """Measure the roofline of the model in each precision in which Archon ran."""
    precisions = {e.task.precision for e in comparison.entries if e.is_archon and e.rounds}
    return {name: measure_roofline(config, name, threads) for name in sorted(precisions)}


def run_peers_bench(
    model: str,
    tasks: Mapping[str, PeerTask],
    contenders: Sequence[str],
    config: DecoderConfig,
    pairs: int,
    report: Callable[[str], None],
    print_result: Callable[[str], None],
) -> dict[str, Any]:
    """Compare contenders on every task; Ctrl-C ends the comparison and keeps finished rounds.

    Parameters
    ----------
    tasks
        Task of each workload, by the name of the workload.
    config
        Configuration of the model, for the roofline.
    pairs
        Number of rounds of each contender.
    report
        Called with each line about the progress.
    print_result
        Called with each line about the results of a workload.

    Returns
    -------
    The object that ``archon bench peers --json`` prints.
    """
    workloads: list[dict[str, Any]] = []
    interrupted = False
    threads = next(iter(tasks.values())).threads
    for name, task in tasks.items():
        task.check(config.context_length)
        comparison = compare(contenders, task, pairs, report)
        interrupted, bounds = comparison.interrupted, {}
        if not interrupted:
            try:
                bounds = rooflines(config, comparison, threads)
            except KeyboardInterrupt:
                interrupted = True
        workloads.append(workload_figures(name, task, comparison, bounds))
        for line in lines(workloads[-1]):
            print_result(line)
        if interrupted:
            break
    return {
        "model": model,
        "machine": describe_machine(),
        "threads": threads,
        "pairs": pairs,
        "workloads": workloads,
        "interrupted": interrupted,
    }


def workload_figures(
    name: str, task: PeerTask, comparison: Comparison, bounds: Mapping[str, Roofline]
) -> dict[str, Any]:
    """Return a workload's figures: sizes, contenders, ratios and rooflines."""
    workload, decode_only = task.workload, task.decode_only
    contenders = []
    for entry in comparison.entries:
        figures = entry.figures()
        rate = figures["completion_tokens_per_second"]
        bound = bounds.get(entry.task.precision) if entry.is_archon else None
        if bound is not None and rate is not None:
            figures["share_of_roofline"] = bound.share(workload, rate, decode_only=decode_only)
        contenders.append(figures)
    return {
        "workload": name,
        **asdict(workload),
        "decode_only": decode_only,
        "contenders": contenders,
        "ratios": comparison.ratios(),
        "rooflines": [bound.figures(workload) for bound in bounds.values()],
    }


def lines(workload: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that describe the results of one workload."""
    what = "decoding only" if workload["decode_only"] else "prefill included, cold cache"
    yield f"{workload['workload']}: completion tokens per second, {what}; medians of the rounds"
    for contender in workload["contenders"]:
        yield f"  {contender['name']}: {_contender(contender, workload)}"
    for ratio in workload["ratios"]:
        yield (
            f"  {ratio['archon']} / {ratio['peer']}: {ratio['ratio']:.2f} × "
            f"({ratio['lowest']:.2f} to {ratio['highest']:.2f})"
        )
    for bound in workload["rooflines"]:
        yield (
            f"  roofline {bound['precision']}: {bound['completion_tokens_per_second']:,.0f} "
            f"tokens/s, decoding {bound['decode_tokens_per_second']:,.0f}; "
            f"{bound['read_bytes_per_second'] / 1e9:.1f} GB/s read, "
            f"{bound['linear_rows_per_second']:,.0f} rows/s through the layers, "
            f"{bound['head_rows_per_second']:,.0f} through the head"
        )


def _contender(contender: Mapping[str, Any], workload: Mapping[str, Any]) -> str:
    rate, settings = contender["completion_tokens_per_second"], contender["settings"] or {}
    notes = [f"excluded: {contender['failure']}"] if contender["failure"] else []
    if rate is None:
        return notes[0] if notes else "no round finished"
    notes += [str(settings[key]) for key in ("format", "precision") if key in settings]
    if "share_of_roofline" in contender:
        notes.append(f"{100 * contender['share_of_roofline']:.0f}% of the roofline")
    if "rows" in settings:
        notes.append(f"batches of {settings['rows']} sequences")
    timed = contender["rounds"][0]["num_prompts"]
    if timed < workload["num_prompts"]:
        notes.append(f"timed on {timed} of {workload['num_prompts']} prompts and scaled up")
    return f"{rate:,.1f} ({'; '.join(notes)})"
