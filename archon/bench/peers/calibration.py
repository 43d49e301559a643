"""Calibrate a peer: choose its batch size, and the number of prompts in a timed round."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from archon.bench.peers.contender import PeerTask

MAX_ROWS = 128
"""Maximum batch size that a calibration tries."""
ROWS_TOLERANCE = 0.03
"""If two batch sizes differ in speed by less than this share, the smaller one is used."""

CALIBRATION_SEED = 1_000_001
"""Seed of the prompts in a calibration."""
CALIBRATION_STEPS = 5
"""Number of timed decoding steps per batch size."""


def candidate_rows(task: PeerTask) -> list[int]:
    """Return the batch sizes to try: the numbers of sequences of 1, 2, 4, … prompts."""
    samples, prompts = task.workload.samples_per_prompt, _max_prompts(task)
    doubled = (samples << power for power in range(prompts.bit_length()))
    return [rows for rows in doubled if rows <= MAX_ROWS][-4:] or [samples]


def middle_of(choices: Sequence[int]) -> int:
    """Return the middle element, where ``climb`` starts.

    >>> middle_of([16, 32, 64, 128])
    32
    """
    return choices[(len(choices) - 1) // 2]


def climb(
    choices: Sequence[int], known: Mapping[int, float], rate: Callable[[int], float]
) -> dict[int, float]:
    """Measure larger choices while the rate grows; if it does not grow, smaller ones.

    >>> climb([16, 32, 64, 128], {32: 90.0}, {16: 100.0, 64: 80.0}.__getitem__)
    {32: 90.0, 64: 80.0, 16: 100.0}
    """
    rates = dict(known)
    (start,) = known
    at = choices.index(start)
    for direction in (choices[at + 1 :], choices[:at][::-1]):
        best = rates[start]
        for rows in direction:
            rates[rows] = rate(rows)
            if rates[rows] <= best:
                break
            best = rates[rows]
        if best > rates[start]:
            break
    return rates


def best_rows(rates: Mapping[int, float]) -> int:
    """Return the smallest batch size whose tokens per second are close to the highest.

    >>> best_rows({16: 100.0, 32: 198.0, 64: 200.0})
    32
    """
    enough = max(rates.values()) * (1 - ROWS_TOLERANCE)
    return min(rows for rows, rate in rates.items() if rate >= enough)


def calibrated(task: PeerTask, rates: Mapping[int, float]) -> dict[str, Any]:
    """Choose a peer's settings from measured rates (batch size → tokens per second)."""
    rows = best_rows(rates)
    return {
        "rows": rows,
        "num_prompts": num_prompts_of_round(task, rows, rates[rows]),
        "calibration_tokens_per_second": {str(n): rates[n] for n in sorted(rates)},
    }


def num_prompts_of_round(task: PeerTask, rows: int, tokens_per_second: float) -> int:
    """Return the number of prompts in a peer's round, at least a batch of ``rows`` sequences.

    Parameters
    ----------
    tokens_per_second
        The peer's speed at this batch size.
    """
    w = task.workload
    wave = max(1, rows // w.samples_per_prompt)
    wave_seconds = wave * w.samples_per_prompt * w.new_tokens / tokens_per_second
    num_waves = (
        round(task.round_seconds / wave_seconds)
        if task.fraction is None
        else _max_prompts(task) // wave
    )
    return min(w.num_prompts, max(1, num_waves) * wave)


def _max_prompts(task: PeerTask) -> int:
    share = 1.0 if task.fraction is None else task.fraction
    return max(1, round(share * task.workload.num_prompts))


def waves(items: list[tuple[int, ...]], size: int) -> Iterable[list[tuple[int, ...]]]:
    """Split prompts into lists of ``size`` prompts; the last list may be shorter."""
    return (items[start : start + size] for start in range(0, len(items), size))
