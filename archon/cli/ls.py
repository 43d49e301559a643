"""``archon ls``: list names for other commands, such as architectures, benchmarks and runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from archon.cli import completers
from archon.cli.console import emit
from archon.cli.options import command
from archon.errors import UsageError
from archon.plugins import discovery, lookup, registry
from archon.spec import catalog

Row = dict[str, Any]
RUNS = "runs"
"""The default folder of runs and studies."""


def _catalogue(kind: catalog.Kind) -> list[Row]:
    from archon.spec.strict_json import read_json

    rows = []
    for name in catalog.names(kind):
        path = catalog.find(kind, name)
        rows.append({"name": name, "description": read_json(path, name).get("description", "")})
    return rows


def _benchmarks() -> list[Row]:
    """Return the cards with the kind of answer, licence and published scores."""
    from archon.spec.reader import load_benchmark

    rows = []
    for name in catalog.names("benchmark"):
        card = load_benchmark(name).spec
        published = [score.model_dump() for score in card.published]
        row = {"name": name, "answer": card.answer, "description": card.description}
        rows.append(row | {"license": card.license, "published": published})
    for found in lookup.all_of("benchmark"):
        kind = found.declaration.options.get("answer", "number")
        row = {"name": found.name, "answer": kind, "description": found.declaration.description}
        rows.append(row | {"license": "", "published": [], "plugin": str(found.origin)})
    return rows


def _nodes() -> list[Row]:
    """Return the node types."""
    from archon.graph.nodes.registry import NODE_TYPES

    origins = {each.name: {"plugin": str(each.origin)} for each in lookup.all_of("node")}
    return [
        {"name": name, "description": _summary(node_type.spec), **origins.get(name, {})}
        for name, node_type in NODE_TYPES.items()
    ]


def _summary(code: object) -> str:
    return (inspect.getdoc(code) or "").partition("\n")[0]


def _scorers() -> list[Row]:
    from archon.evals.scorers import SCORERS
    from archon.evals.scorers.registry import plugin_scorers

    origins = {found.name: {"plugin": str(found.origin)} for found, _ in plugin_scorers()}
    return [
        {
            "name": name,
            "answer": scorer.kinds[0],
            "description": scorer.description,
            "answers": list(scorer.kinds),
            "aliases": list(scorer.aliases),
            "parameters": scorer.described_parameters(),
            **origins.get(name, {}),
        }
        for name, scorer in [*SCORERS.items(), *((s.name, s) for _, s in plugin_scorers())]
    ]


def _templates() -> list[Row]:
    from archon.graph.nodes.registry import prompt_kinds

    origins = {each.name: {"plugin": str(each.origin)} for each in lookup.all_of("template")}
    return [
        {
            "name": name,
            "node": kind.name,
            "description": template.description,
            **origins.get(f"{kind.name}/{name}", {}),
        }
        for kind in prompt_kinds()
        for name, template in kind.templates.items()
    ]


def _plugins() -> list[Row]:
    """Return the plug-ins with everything that each registers, also those that failed to load."""
    discovery.load_all()
    registrations = registry.everything()
    rows = []
    for plugin in discovery.plugins():
        provides = [
            f"{registry.KINDS[each.kind]} {each.name}"
            for each in registrations
            if each.origin == plugin.origin
        ]
        described = f"failed: {plugin.error}" if plugin.error else ", ".join(provides)
        row: Row = {"name": plugin.name, "source": plugin.source, "origin": plugin.origin.detail}
        row |= {"description": described or "nothing", "provides": provides}
        rows.append(row | ({"error": plugin.error} if plugin.error else {}))
    return rows


def _runs() -> list[Row]:
    from archon.cli.run_table import described

    return [described(row) for row in _collection(RUNS)["runs"]]


def _studies() -> list[Row]:
    from archon.cli.run_table import described_study

    return [described_study(row) for row in _collection(RUNS)["studies"]]


def _collection(folder: str) -> dict[str, list[Row]]:
    from archon.cli.run_table import run_list

    is_missing_default = folder == RUNS and not Path(RUNS).is_dir()
    empty: dict[str, list[Row]] = {"runs": [], "comparisons": [], "studies": []}
    return empty if is_missing_default else run_list(folder).read()


KINDS: Mapping[str, Callable[[], list[Row]]] = {
    "architectures": lambda: _catalogue("architecture"),
    "spaces": lambda: _catalogue("space"),
    "benchmarks": _benchmarks,
    "models": lambda: _catalogue("model"),
    "trainings": lambda: _catalogue("training"),
    "templates": _templates,
    "scorers": _scorers,
    "nodes": _nodes,
    "plugins": _plugins,
    "runs": _runs,
    "studies": _studies,
}
"""Argument of ``archon ls`` → function that returns the rows of its list."""


@command
@click.argument("kind", required=False, type=click.Choice(list(KINDS)))
@click.argument("folder", required=False, shell_complete=completers.folders)
def ls(kind: str | None, folder: str | None, as_json: bool) -> None:
    """List architectures, benchmarks, models, templates and more.

    Without an argument, list everything. Templates are grouped by node type, or by TYPE.METHOD if
    the method has its own templates. `archon ls runs` lists the runs, comparisons and searches in
    FOLDER and its subfolders; by default, FOLDER is runs.
    """
    if kind == "runs":
        _list_runs(folder or RUNS, as_json)
        return
    if folder is not None:
        raise UsageError(f"archon ls {kind} takes no folder; only archon ls runs does")
    found = {name: KINDS[name]() for name in (KINDS if kind is None else [kind])}
    if as_json:
        emit(found)
        return
    for name, rows in found.items():
        if kind is None:
            print(f"{name}:" if rows else f"{name}: none")
        _print(rows, indent="  " if kind is None else "")


def _list_runs(folder: str, as_json: bool) -> None:
    from archon.cli.run_table import described, described_study, print_collection

    found = _collection(folder)
    if as_json:
        emit(
            {
                "runs": [described(row) for row in found["runs"]],
                "comparisons": found["comparisons"],
                "studies": [described_study(row) for row in found["studies"]],
            }
        )
        return
    print_collection(found)


def _print(rows: list[Row], indent: str) -> None:
    columns = ("name", "node", "answer", "source", "origin", "description")
    present = [column for column in columns if any(column in row for row in rows)]
    widths = {column: max(len(row[column]) for row in rows) for column in present[:-1]}
    for row in rows:
        cells = [row[column].ljust(widths.get(column, 0)) for column in present]
        plugin = f" [plug-in {row['plugin']}]" if "plugin" in row else ""
        print(f"{indent}{'  '.join(cells)}{plugin}".rstrip())
