"""Reads damaged files until the time is over: only our errors, in bounded time and memory.

``python tests/hostile/fuzz.py --seconds 600`` writes every finding's files into ``--keep`` and ends
with 1 where there was one; ``--target gguf --seed 7`` reads one case again.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from targets import Target, targets  # noqa: E402

MAX_SECONDS = 10.0
"""Of one case; a template may take two of its own process, and this machine may be busy."""
MAX_GROWTH_BYTES = 1 << 30
"""Of the address space, over what is in use when the first case begins."""


class TooSlowError(Exception):
    """A case took more than ``MAX_SECONDS``."""


def case(target: Target, seed: int, place: Path) -> str:
    """Damage a file and read it; the name of the error, or ``sound`` where it was still one.

    Whatever else is raised is a finding.
    """
    target.damage(Random(seed), place)
    try:
        with _limited():
            target.read(place)
    except target.errors as error:
        if not str(error):
            raise AssertionError("an error without words") from error
        return type(error).__name__
    return "sound"


@contextmanager
def _limited() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, _too_slow)
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlowError


@contextmanager
def limited_memory() -> Iterator[None]:
    """Asking for much more than there is in use now fails."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MAX_GROWTH_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--target", action="append", default=[])
    parser.add_argument("--seed", type=int, help="only this case")
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument("--keep", type=Path, default=Path("findings"))
    asked = parser.parse_args()
    outcomes: Counter[str] = Counter()
    findings: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as work:
        chosen = targets(Path(work) / "sound")
        names = asked.target or list(chosen)
        seed, end = (
            asked.first if asked.seed is None else asked.seed,
            time.monotonic() + asked.seconds,
        )
        with limited_memory():
            while time.monotonic() < end:
                for name in names:
                    place = Path(work) / name
                    shutil.rmtree(place, ignore_errors=True)
                    place.mkdir()
                    try:
                        outcomes[f"{name}: {case(chosen[name], seed, place)}"] += 1
                    except BaseException as error:
                        if isinstance(error, KeyboardInterrupt):
                            raise
                        where = traceback.extract_tb(error.__traceback__)[-1]
                        kind = f"{name}: {type(error).__name__} at {where.filename}:{where.lineno}"
                        findings[kind] += 1
                        if findings[kind] == 1:
                            print(f"{kind} (--target {name} --seed {seed})", flush=True)
                            traceback.print_exc()
                            shutil.copytree(
                                place, asked.keep / f"{name}-{seed}", dirs_exist_ok=True
                            )
                if asked.seed is not None:
                    break
                seed += 1
    for kind, count in sorted(outcomes.items()):
        print(f"{count:8} {kind}")
    num_findings = sum(findings.values())
    print(f"{sum(outcomes.values())} cases, {num_findings} findings of {len(findings)} kinds")
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
