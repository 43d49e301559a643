"""Export a run as lm-eval writes its results and, with ``--log_samples``, its samples.

The format is that of lm-eval 0.4.13. A scorer becomes a *filter*: the samples have a line for each
answer and scorer, and the results have the metrics ``exact_match``, the accuracy, and ``score``,
the mean score if there are partial scores, for each. Failures count as wrong.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from archon.evals.export_parts import (
    Figures,
    answer_call,
    encoded,
    figures,
    run_id,
    scores_of,
    start_time,
)
from archon.evals.journal import Entry
from archon.evals.records import Record
from archon.evals.run import Run
from archon.evals.run_spec import headings

_PREFIX = "lm-eval-"
_NO_ANSWER = "[invalid]"
"""The answer of a text without one, as lm-eval's filters write it."""


class LmEvalFiles(NamedTuple):
    """The names of the two files of an export."""

    results: str
    samples: str


def file_names(run: Run) -> LmEvalFiles:
    """Return the names by which lm-eval's tools find the files in a folder.

    The run's id takes the place of microseconds, so that runs of the same second do not overwrite
    each other's files.
    """
    fraction = int(run_id(run), 16) % 1_000_000
    started = start_time(run).replace(tzinfo=None, microsecond=fraction)
    time = started.isoformat(timespec="microseconds")
    date = time.replace(":", "-")
    return LmEvalFiles(f"results_{date}.json", f"samples_{_task(run)}_{date}.jsonl")


def results_json(run: Run) -> str:
    """Return the results, as JSON."""
    entries = run.sorted_entries()
    heads, task = headings(run.description), _task(run)
    specification = run.description["specification"]
    of_scorer = figures(run, [entry.record for entry in entries])
    items = {entry.record.item for entry in entries}
    models = {role: name for role, name in heads["models"].items() if name is not None}
    seconds: dict[int, float] = {}
    for entry in entries:
        seconds[entry.session] = max(entry.session_seconds, seconds.get(entry.session, 0))
    hashes = "".join(_hashes(entry)["doc_hash"] for entry in entries)
    name = heads["architecture"]
    results = {
        "results": {
            task: {
                "name": task,
                "alias": heads["benchmark"],
                "sample_len": len(items),
                **_metrics(of_scorer),
            }
        },
        "group_subtasks": {},
        "configs": {
            task: {
                "task": task,
                "output_type": "generate_until",
                "test_split": heads["split"],
                "repeats": heads["epochs"],
                "num_fewshot": _num_shots(specification),
                "metadata": {"version": 1, "archon": specification},
            }
        },
        "versions": {task: 1},
        "n-shot": {task: _num_shots(specification)},
        "higher_is_better": {task: {"exact_match": True, "score": True}},
        "n-samples": {
            task: {"original": run.description["items"]["count"], "effective": len(items)}
        },
        "config": {
            "model": "archon",
            "model_args": {"model": name, **models},
            "limit": heads["limit"],
            "random_seed": heads["seed"],
        },
        "git_hash": None,
        "date": start_time(run).timestamp(),
        "task_hashes": {task: _hash(hashes)},
        "model_source": "archon",
        "model_name": name,
        "model_name_sanitized": re.sub(r"[\"<>:/|\\?*\[\]]+", "__", name),
        "system_instruction": None,
        "fewshot_as_multiturn": None,
        "chat_template": None,
        "total_evaluation_time_seconds": str(sum(seconds.values())),
    }
    return json.dumps(json.loads(encoded(results)), indent=2) + "\n"


def samples_jsonl(run: Run) -> Iterator[str]:
    """Yield a line for each answer and scorer."""
    numbers: dict[str, int] = {}
    entries = run.sorted_entries()
    of_scorer = figures(run, [entry.record for entry in entries])
    for entry in entries:
        number = numbers.setdefault(entry.record.item, len(numbers))
        shared = _sample(run, entry, number)
        for index, (label, points) in enumerate(scores_of(run, entry.record).items()):
            answer = entry.record.value if index == 0 else entry.record.text
            metrics = {"exact_match": float(points == 1)}
            if not of_scorer[label].is_binary:
                metrics["score"] = float(points)
            sample = {
                **shared,
                "filtered_resps": [_NO_ANSWER if answer is None else answer],
                "filter": label.removeprefix(_PREFIX),
                "metrics": list(metrics),
                **_hashes(entry),
                **metrics,
            }
            yield f"{encoded(sample)}\n"


def _task(run: Run) -> str:
    return re.sub(r"\W", "_", headings(run.description)["benchmark"])


def _metrics(of_scorer: Mapping[str, Figures]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for label, figure in of_scorer.items():
        name = label.removeprefix(_PREFIX)
        metrics[f"exact_match,{name}"] = figure.accuracy
        metrics[f"exact_match_stderr,{name}"] = figure.accuracy_stderr
        if not figure.is_binary:
            metrics[f"score,{name}"] = figure.mean
            metrics[f"score_stderr,{name}"] = figure.stderr
    return metrics


def _num_shots(specification: Mapping[str, Any]) -> int:
    nodes = specification["architecture"]["nodes"].values()
    return max(((node.get("prompt") or {}).get("shots") or 0 for node in nodes), default=0)


def _sample(run: Run, entry: Entry, number: int) -> dict[str, Any]:
    record, written = entry.record, answer_call(entry.trace)
    settings: dict[str, Any] = {}
    if written is not None:
        sampling = written.call["sampling"]
        names = {"stop": "until", "max_tokens": "max_gen_toks", "temperature": "temperature"}
        settings = {theirs: sampling[ours] for ours, theirs in names.items() if ours in sampling}
    epoch = {"epoch": record.epoch} if run.description["epochs"] > 1 else {}
    return {
        "doc_id": number,
        "doc": _document(record),
        "target": record.target,
        "arguments": {"gen_args_0": {"arg_0": [_prompt(entry)], "arg_1": settings}},
        "resps": [["" if record.text is None else record.text]],
        **epoch,
    }


def _document(record: Record) -> dict[str, Any]:
    """Return the row of an item. Fields without a value are left out."""
    fields = {
        "targets": list(record.targets),
        "choices": list(record.choices),
        "error": record.error,
    }
    filled = {name: value for name, value in fields.items() if value}
    return {
        **record.metadata,
        "id": record.item,
        "question": record.question,
        "target": record.target,
        **filled,
    }


def _prompt(entry: Entry) -> str:
    """Return the messages of the call that wrote the answer, as lm-eval writes chats."""
    written = answer_call(entry.trace)
    messages = [{"role": "user", "content": entry.record.question}]
    if written is not None:
        messages = [dict(message) for message in written.call["messages"]]
    return json.dumps(messages, ensure_ascii=False)


def _hashes(entry: Entry) -> dict[str, str]:
    document = json.dumps(_document(entry.record), indent=2, ensure_ascii=False)
    return {
        "doc_hash": _hash(document),
        "prompt_hash": _hash(_prompt(entry)),
        "target_hash": _hash(entry.record.target),
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
