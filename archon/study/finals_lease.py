"""The lease on the finals of a study, and the results that the study keeps.

Only one of several workers runs the finals. It takes a lease, an attribute of the study, under a
lock, and sends heartbeats as for a trial. The study keeps the results of all finals, because every
use of the test split counts: it should be used only once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from archon.study import workers
from archon.study.storage import in_turn
from archon.study.workers import Worker, beating, is_gone

if TYPE_CHECKING:
    import optuna

LEASE, FINALS = "finals_claim", "finals_held"
"""Names of study attributes: the lease on the finals, and the list of results."""
_POLL_SECONDS = 1.0


@asynccontextmanager
async def leased(study: optuna.Study, worker: Worker, url: str) -> AsyncIterator[bool]:
    """Hold the lease while the block runs; yield True, or False if another worker holds it.

    A lease without recent heartbeats is taken over.
    """
    if not await _take(study, worker, url):
        yield False
        return
    try:
        async with beating(lambda count: study.set_user_attr(LEASE, worker.sign(count))):
            yield True
    finally:
        study.set_user_attr(LEASE, None)


async def _take(study: optuna.Study, worker: Worker, url: str) -> bool:
    first, since = None, worker.clock()
    while True:
        with in_turn(url):
            beat = study.user_attrs.get(LEASE)
            is_stale = worker.clock() - since >= workers.STALE_SECONDS
            if worker.is_alone or beat is None or is_gone(beat["worker"]) or is_stale:
                study.set_user_attr(LEASE, worker.sign(0))
                return True
        first = beat if first is None else first
        if beat != first:
            return False
        await asyncio.sleep(_POLL_SECONDS)


def finals_of(study: optuna.Study) -> list[dict[str, Any]]:
    """Return the results of all finals of a study, the oldest first.

    Each is a dict with ``num_trials`` so far, ``asked`` (digest of finalists and items),
    ``finalists`` with their results on *select* (the best first), ``winner`` (a trial number), the
    winner's ``architecture`` and its reports ``select`` and ``test``, ``equal_cost``,
    ``generated_tokens``, ``cost_tokens`` and ``end_time``.
    """
    return list(study.user_attrs.get(FINALS, []))


def store_finals(study: optuna.Study, finals: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Add the results of finals to the study.

    They replace earlier results of the same finals, in which items had failed.

    Returns
    -------
    The results of all finals, as read back from the storage.
    """
    others = [entry for entry in finals_of(study) if entry["asked"] != finals["asked"]]
    study.set_user_attr(FINALS, [*others, dict(finals)])
    return finals_of(study)


def has_failed_items(finals: Mapping[str, Any]) -> bool:
    """Return whether items failed in these finals; a resumed study asks them again."""
    reports = [*finals["finalists"], finals["test"]]
    return any(report.get("num_errors", 0) > 0 for report in reports)


def num_tested(finals: Sequence[Mapping[str, Any]]) -> int:
    """Count how often the test split was used.

    Repeated tests of the same winner on the same number of items count once.
    """
    return len({(entry["winner"], entry["test"]["num_items"]) for entry in finals})
