"""Export a run as a log of Inspect, which ``inspect view`` and ``read_eval_log`` open.

The format is that of Inspect's JSON logs, version 2 (https://inspect.aisi.org.uk/eval-logs.html):
a header, and a sample for each answer. Scores of 1 and 0 are ``C`` and ``I``; a scorer that gave
any other score has numbers. What Inspect has no field for is in the ``store`` of each sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from archon.answers.letters import letter_of
from archon.evals.export_parts import (
    Figures,
    answer_call,
    encoded,
    figures,
    joined,
    later,
    run_id,
    scorer_choices,
    scores_of,
    start_time,
)
from archon.evals.journal import Entry
from archon.evals.records import Record
from archon.evals.run import Run
from archon.evals.run_spec import headings
from archon.types import Usage

VERSION = 2
"""Version of Inspect's log format."""
_STOP_REASONS = {"stop": "stop", "length": "max_tokens"}
_STORED = (
    "value", "cost_tokens", "draws", "samples", "failed_samples", "limited_by", "notes",
    "num_reasoning_cut_off", "metrics", "scorer_errors",
)  # fmt: skip
"""Fields of a record that are kept in the store of a sample."""


def inspect_log(run: Run, *, traces: bool = False) -> Iterator[str]:
    """Yield the text of a log in parts: the header, a line for each answer, and the end.

    Parameters
    ----------
    traces
        Whether the samples contain every prompt and completion as events.
    """
    entries = run.sorted_entries()
    of_scorer = figures(run, [entry.record for entry in entries])
    header = _header(run, entries, of_scorer)
    yield f'{encoded(header)[:-1]}, "samples": [\n'
    samples = (encoded(_sample(run, entry, of_scorer, traces)) for entry in entries)
    yield from joined(samples, ",\n")
    yield "\n]}\n"


def log_name(run: Run) -> str:
    """Return a file name by which ``inspect view`` finds the log in its folder."""
    time = start_time(run).isoformat(timespec="seconds").replace(":", "-").replace("+", "-")
    name = _file_part(headings(run.description)["benchmark"])
    return f"{time}_{name}_{run_id(run)[:22]}.json"


def _file_part(name: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name)


# -------------------------------------------------------------------------------------- header


def _header(run: Run, entries: Sequence[Entry], of_scorer: Mapping[str, Figures]) -> dict[str, Any]:
    description, heads = run.description, headings(run.description)
    start, model = start_time(run), _model(run)
    is_complete = len(entries) >= run.num_runs
    sessions: dict[int, float] = {}
    for entry in entries:
        sessions[entry.session] = max(entry.session_seconds, sessions.get(entry.session, 0))
    usage = sum((entry.record.usage for entry in entries), Usage())
    limit = {} if heads["limit"] is None else {"limit": heads["limit"]}
    return {
        "version": VERSION,
        "status": "success" if is_complete else "cancelled",
        "eval": {
            "eval_id": run_id(run)[:22],
            "run_id": run_id(run)[:22],
            "created": start.isoformat(),
            "task": heads["benchmark"],
            "task_id": description["digest"][:22],
            "dataset": {
                "name": heads["benchmark"],
                "samples": description["items"]["count"],
                "sample_ids": list(dict.fromkeys(entry.record.item for entry in entries)),
            },
            "model": model,
            "model_generate_config": {"seed": heads["seed"]},
            "model_roles": {
                role: {"model": name} for role, name in heads["models"].items() if name is not None
            },
            "config": {**limit, "epochs": heads["epochs"], "fail_on_error": False},
            "packages": description.get("versions", {}),
            "metadata": {
                "split": heads["split"],
                "specification": description["specification"],
                "machine": description.get("machine", {}),
            },
            "scorers": [_scorer(choice) for choice in scorer_choices(run)],
        },
        "plan": {"steps": _steps(description["specification"]["architecture"])},
        "results": {
            "total_samples": run.num_runs,
            "completed_samples": sum(entry.record.error is None for entry in entries),
            "scores": [_result(run, *figure) for figure in of_scorer.items()],
        },
        "stats": {
            "started_at": start.isoformat(),
            "completed_at": later(start, sum(sessions.values())),
            "model_usage": {model: _usage(usage)},
        },
    }


def _model(run: Run) -> str:
    return f"archon/{headings(run.description)['architecture']}"


def _steps(architecture: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the nodes of an architecture as the steps of Inspect's plan."""
    return [
        {"solver": f"archon/{node['type']}", "params": {"node": name, **node}}
        for name, node in architecture["nodes"].items()
    ]


def _scorer(choice: Mapping[str, Any]) -> dict[str, Any]:
    options = {key: value for key, value in choice.items() if key != "name"}
    metrics = [{"name": name} for name in ("accuracy", "mean", "stderr")]
    return {"name": choice["name"], "options": options, "metrics": metrics}


def _result(run: Run, label: str, of_scorer: Figures) -> dict[str, Any]:
    metrics: dict[str, float] = {"accuracy": of_scorer.accuracy}
    if not of_scorer.is_binary:
        metrics["mean"] = of_scorer.mean
    metrics["stderr"] = of_scorer.stderr
    return {
        "name": label,
        "scorer": label,
        "scored_samples": of_scorer.num_scores,
        "unscored_samples": max(0, run.num_runs - of_scorer.num_scores),
        "metrics": {name: {"name": name, "value": value} for name, value in metrics.items()},
    }


# -------------------------------------------------------------------------------------- samples


def _sample(
    run: Run, entry: Entry, of_scorer: Mapping[str, Figures], traces: bool
) -> dict[str, Any]:
    record, trace = entry.record, entry.trace
    model, written = _model(run), answer_call(trace)
    begin = max(0.0, entry.session_seconds - record.seconds)
    messages = [dict(message) for message in written.call["messages"]] if written else []
    messages = messages or [{"role": "user", "content": record.question}]
    sample: dict[str, Any] = {
        "id": record.item,
        "epoch": record.epoch + 1,
        "input": record.question,
        "target": _target(record),
        "messages": messages,
        "output": {"model": model, "choices": []},
        "scores": _scores(run, record, of_scorer),
        "metadata": dict(record.metadata),
        "store": {f"archon:{name}": value for name, value in _stored(record).items()},
        "model_usage": {model: _usage(record.usage)},
        "started_at": later(start_time(run), begin),
        "completed_at": later(start_time(run), begin + record.seconds),
        "total_time": record.seconds,
        "uuid": f"{run_id(run)[:12]}-{record.item}-{record.epoch + 1}",
    }
    if record.choices:
        sample["choices"] = list(record.choices)
    if record.text is not None:
        completion = {"text": record.text} if written is None else written.completion
        choice = _choice(completion, record.text)
        sample["messages"] = [*messages, choice["message"]]
        sample["output"] |= {
            "choices": [choice],
            "completion": record.text,
            "usage": _usage(record.usage),
            "time": record.seconds,
        }
    if record.error is not None:
        sample["error"] = {"message": record.error, "traceback": "", "traceback_ansi": ""}
    if traces and trace is not None:
        start = start_time(run)
        sample["events"] = list(_events(run, trace, start, begin, parent=None))
    return sample


def _target(record: Record) -> str | list[str]:
    """Return the accepted answers; for a question with options, the letters of the right ones."""
    targets = [letter_of(target, record.choices) for target in record.targets or (record.target,)]
    return targets if len(targets) > 1 else targets[0]


def _stored(record: Record) -> dict[str, Any]:
    data = record.to_json()
    return {name: data[name] for name in _STORED if name in data}


def _scores(
    run: Run, record: Record, of_scorer: Mapping[str, Figures]
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for index, (label, points) in enumerate(scores_of(run, record).items()):
        is_binary = of_scorer[label].is_binary
        score: dict[str, Any] = {"value": ("C" if points else "I") if is_binary else points}
        if index == 0:
            explanation = record.explanation
            score |= {} if record.value is None else {"answer": record.value}
        else:
            explanation = record.explanations.get(label, "")
        if explanation:
            score["explanation"] = explanation
        found[label] = score
    return found


def _choice(completion: Mapping[str, Any], text: str) -> dict[str, Any]:
    reasoning = completion.get("reasoning")
    content: Any = text
    if reasoning:
        content = [{"type": "reasoning", "reasoning": reasoning}, {"type": "text", "text": text}]
    reason = _STOP_REASONS.get(completion.get("finish_reason", ""), "unknown")
    message = {"role": "assistant", "content": content, "source": "generate"}
    return {"message": message, "stop_reason": reason}


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "input_tokens_cache_read": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


# --------------------------------------------------------------------------------------- events


def _events(
    run: Run, trace: Mapping[str, Any], start: datetime, begin: float, parent: str | None
) -> Iterator[dict[str, Any]]:
    """Yield a span for each node, with an event for each call; nested traces are nested spans."""
    nodes = run.description["specification"]["architecture"]["nodes"] if parent is None else {}
    for node in trace["nodes"]:
        span = node["node"] if parent is None else f"{parent}/{node['node']}"
        role = nodes.get(node["node"], {}).get("model")
        opening = begin + node["start_seconds"]
        named = {"id": span, "span_id": span}
        at = {"timestamp": later(start, opening), "working_start": node["start_seconds"]}
        inside = {} if parent is None else {"parent_id": parent}
        yield {
            "event": "span_begin", "uuid": f"{span}:begin", "name": node["node"],
            "type": node["type"], **named, **inside, **at,
        }  # fmt: skip
        for index, call in enumerate(node["calls"]):
            yield _model_event(
                run, call, span, index, role, later(start, begin + call["start_seconds"])
            )
            for completion in call["completions"]:
                if "trace" in completion:
                    name = f"{span}/{index}.{completion['draw']}"
                    inner = begin + call["start_seconds"]
                    yield from _events(run, completion["trace"], start, inner, name)
        closing = opening + node["seconds"]
        at = {"timestamp": later(start, closing), "working_start": closing - begin}
        yield {"event": "span_end", "uuid": f"{span}:end", **named, **at}


def _model_event(
    run: Run, call: Mapping[str, Any], span: str, index: int, role: str | None, timestamp: str
) -> dict[str, Any]:
    model = headings(run.description)["models"].get(role or "") or _model(run)
    sampling = call["sampling"]
    config = {
        name: sampling[name]
        for name in ("temperature", "top_p", "max_tokens")
        if sampling.get(name) is not None
    }
    if sampling.get("top_k"):  # 0 keeps every token
        config["top_k"] = sampling["top_k"]
    if sampling.get("stop"):
        config["stop_seqs"] = list(sampling["stop"])
    completions = call["completions"]
    prompt_tokens = sum(completion["usage"]["prompt_tokens"] for completion in completions)
    written = sum(completion["usage"]["completion_tokens"] for completion in completions)
    return {
        "event": "model",
        "uuid": f"{span}:{index}",
        "span_id": span,
        "timestamp": timestamp,
        "working_start": call["start_seconds"],
        "working_time": call["seconds"],
        "model": model,
        **({} if role is None else {"role": role}),
        "input": [dict(message) for message in call["messages"]],
        "tools": [],
        "tool_choice": "none",
        "config": config,
        "output": {
            "model": model,
            "choices": [_choice(completion, completion["text"]) for completion in completions],
            "usage": {
                "input_tokens": prompt_tokens,
                "output_tokens": written,
                "total_tokens": prompt_tokens + written,
            },
            "time": call["seconds"],
        },
    }
