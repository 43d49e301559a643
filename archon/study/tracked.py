"""Studies that are recorded in an experiment tracker (``archon.tracking``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from archon.study.result import SearchResult
from archon.study.search_config import OnStudyEvent, SearchConfig, StudyEvent, TrialFinished
from archon.tracking.session import Tracking
from archon.tracking.tracker import TrackedRun, Trial, status_of

_METRICS = ("num_trials", "num_stopped", "search", "select", "test", "equal_cost")
"""Keys of the result whose numbers are metrics. The tokens of single trials are metrics too, so
the result's totals, which have the same names, are only in the report."""


@dataclass
class Recorder:
    """Records the trials and the result of one session of a study."""

    on_event: OnStudyEvent | None
    """The listener of the search."""
    result: SearchResult | None = None
    """Set at the end of the session."""


@contextmanager
def recorded(
    name: str,
    identity: Mapping[str, Any],
    config: SearchConfig,
    on_event: OnStudyEvent | None,
    place: str,
) -> Iterator[Recorder]:
    """Record a session of a study, if its configuration names a tracker.

    Parameters
    ----------
    name
        Name of the study.
    identity
        The settings that all workers and sessions of the study share.
    place
        The study's folder.
    """
    recorder = Recorder(on_event)
    if config.track is None:
        yield recorder
        return
    settings = {
        "space": identity["space"].get("name"),
        "benchmark": identity["benchmark"].get("name"),
        "num_items": len(identity["items"]),
        **{key: identity[key] for key in ("models", "objectives", "limits", "seed")},
        **{key: getattr(config, key) for key in ("sampler", "trials", "finalists", "stops_early")},
    }
    tracking = Tracking.of(config.track, TrackedRun("search", name, settings, name))
    recorder.on_event = _listener(tracking, on_event)
    try:
        yield recorder
    except BaseException as error:
        tracking.finish(status_of(error), {}, place)
        raise
    report = {} if recorder.result is None else recorder.result.to_json()
    metrics = {name: report[name] for name in _METRICS if report.get(name) is not None}
    tracking.finish("finished", report, place, metrics)


def _listener(tracking: Tracking, inner: OnStudyEvent | None) -> Callable[[StudyEvent], None]:
    def on_event(event: StudyEvent) -> None:
        if inner is not None:
            inner(event)
        if isinstance(event, TrialFinished):
            record = event.record
            metrics: dict[str, float] = {}
            if record.results:
                counts = ("generated_tokens", "completion_tokens", "cost_tokens")
                metrics = {**record.values, "num_items": len(record.results)}
                metrics |= {key: getattr(record, key) for key in counts}
            trial = Trial(record.number, record.outcome, dict(record.point), metrics)
            tracking.trial(trial)

    return on_event
