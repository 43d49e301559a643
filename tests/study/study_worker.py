"""A worker of a study of the landscape: ``study_worker.py URL NAME TRIALS SECONDS [HANGS]``."""

from __future__ import annotations

import asyncio
import math
import sys

import optuna
from study_doubles import Landscape, landscape, plan

from archon.study import storage, workers
from archon.study.study import Search


def work(url: str, name: str, trials: int, seconds: float, hangs_after: float = math.inf) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    made = plan(trials=trials, stops_early=True, resume=True)
    space = landscape()
    with storage.opened_study(url, name, {"space": space.name}, made) as study:
        worker = workers.Worker(study, storage.is_for_one(url))
        subject = Landscape(num_items=20, seconds=seconds, hangs_after=hangs_after)
        asyncio.run(Search(made, space, subject, study, worker).run())


if __name__ == "__main__":
    workers.BEAT_SECONDS, workers.STALE_SECONDS = 0.2, 2.0
    work(sys.argv[1], sys.argv[2], int(sys.argv[3]), *map(float, sys.argv[4:]))
