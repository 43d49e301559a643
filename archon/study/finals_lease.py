"""The lease on the finals of a study, and their results.

Of several workers, one chooses among the best. It takes the lease in the study, under a lock, and
beats for it as for a trial. The results of all finals stay in the study: the test split should be
used once, so every use is counted.
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

CLAIM, HELD = "finals_claim", "finals_held"
"""Attributes of a study: who holds the lease on its finals, and the results of all finals."""
_LOOK_SECONDS = 1.0


@asynccontextmanager
async def claimed(study: optuna.Study, worker: Worker, url: str) -> AsyncIterator[bool]:
    """Whether this worker holds the lease while the block runs.

    It does not if another worker holds it and its heartbeat continues; a lease whose heartbeat
    stops is taken over.
    """
    if not await _take(study, worker, url):
        yield False
        return
    try:
        async with beating(lambda count: study.set_user_attr(CLAIM, worker.sign(count))):
            yield True
    finally:
        study.set_user_attr(CLAIM, None)


async def _take(study: optuna.Study, worker: Worker, url: str) -> bool:
    first, since = None, worker.clock()
    while True:
        with in_turn(url):
            claim = study.user_attrs.get(CLAIM)
            stands = worker.clock() - since >= workers.STALE_SECONDS
            if worker.is_alone or claim is None or is_gone(claim["worker"]) or stands:
                study.set_user_attr(CLAIM, worker.sign(0))
                return True
        first = claim if first is None else first
        if claim != first:
            return False
        await asyncio.sleep(_LOOK_SECONDS)


def finals_of(study: optuna.Study) -> list[dict[str, Any]]:
    """The results of all finals of a study, the last one last.

    Each: ``num_trials`` that there were, ``asked`` (finalists and items), ``finalists`` with what
    they did on *select*, the best first, ``winner`` (a trial), its ``architecture``, its reports
    ``select`` and ``test``, ``equal_cost``, ``generated_tokens``, ``cost_tokens``, ``end_time``.
    """
    return list(study.user_attrs.get(HELD, []))


def keep_finals(study: optuna.Study, finals: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Add what came of finals to what is there; all of it, as the storage gives it back.

    It takes the place of the same finals, whose failed items have been asked again.
    """
    others = [entry for entry in finals_of(study) if entry["asked"] != finals["asked"]]
    study.set_user_attr(HELD, [*others, dict(finals)])
    return finals_of(study)


def has_failed_items(finals: Mapping[str, Any]) -> bool:
    """Whether items failed in finals, so that resuming the study asks them again."""
    reports = [*finals["finalists"], finals["test"]]
    return any(report.get("num_errors", 0) > 0 for report in reports)


def num_tested(finals: Sequence[Mapping[str, Any]]) -> int:
    """How many winners were asked the test split; asking one again tells nothing new."""
    return len({(entry["winner"], entry["test"]["num_items"]) for entry in finals})
