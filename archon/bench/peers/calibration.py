"""Calibration of a peer: how many sequences at once, and how many prompts in a timed round."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from archon.bench.peers.contender import PeerTask

MAX_ROWS = 128
"""Sequences at once that a calibration tries at most."""
ROWS_TOLERANCE = 0.03
"""Fewer rows that are slower by no more than this share are taken, for they differ by noise."""

CALIBRATION_SEED = 1_000_001
"""Seed of the prompts while calibrating."""
CALIBRATION_STEPS = 5
"""Decoding steps that are timed for each number of rows."""


def candidate_rows(task: PeerTask) -> list[int]:
    """Numbers of sequences at once that are worth a try: all samples of 1, 2, 4, … prompts."""
    samples, prompts = task.workload.samples_per_prompt, _prompts_at_most(task)
    doubled = (samples << power for power in range(prompts.bit_length()))
    return [rows for rows in doubled if rows <= MAX_ROWS][-4:] or [samples]


def middle_of(choices: Sequence[int]) -> int:
    """Where a search begins.

    >>> middle_of([16, 32, 64, 128])
    32
    """
    return choices[(len(choices) - 1) // 2]


def climb(
    choices: Sequence[int], known: Mapping[int, float], rate: Callable[[int], float]
) -> dict[int, float]:
    """Measure upwards from what is known as long as it gets better; if it never does, downwards.

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
    """The smallest number of rows whose tokens a second are the highest, but for noise.

    >>> best_rows({16: 100.0, 32: 198.0, 64: 200.0})
    32
    """
    enough = max(rates.values()) * (1 - ROWS_TOLERANCE)
    return min(rows for rows, rate in rates.items() if rate >= enough)


def num_prompts_of_round(task: PeerTask, rows: int, tokens_per_second: float) -> int:
    """Prompts of a peer's round: whole batches of ``rows`` sequences, one at least.

    Parameters
    ----------
    tokens_per_second
        What the peer makes at so many rows.
    """
    w = task.workload
    wave = max(1, rows // w.samples_per_prompt)
    wave_seconds = wave * w.samples_per_prompt * w.new_tokens / tokens_per_second
    num_waves = (
        round(task.round_seconds / wave_seconds)
        if task.fraction is None
        else _prompts_at_most(task) // wave
    )
    return min(w.num_prompts, max(1, num_waves) * wave)


def _prompts_at_most(task: PeerTask) -> int:
    share = 1.0 if task.fraction is None else task.fraction
    return max(1, round(share * task.workload.num_prompts))


def waves(items: list[tuple[int, ...]], size: int) -> Iterable[list[tuple[int, ...]]]:
    """Consecutive lists of ``size`` prompts; the last may be shorter."""
    return (items[start : start + size] for start in range(0, len(items), size))
