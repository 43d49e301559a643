"""``archon convert``: convert an architecture file of the original Archon project."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archon.cli import completers
from archon.cli.console import ResultPrinter, counted, emit, print_line
from archon.cli.options import command, write_file
from archon.errors import UsageError

if TYPE_CHECKING:
    from archon.convert import Conversion

_MAX_PATHS, _MAX_LINES = 3, 200


@command
@click.argument("file", metavar="FILE", shell_complete=completers.files)
@click.option(
    "--output",
    metavar="FILE",
    shell_complete=completers.files,
    help="File to write; by default FILE's name with the extension .archon.json, in the current "
    "folder.",
)
def convert(file: str, output: str | None, as_json: bool) -> None:
    """Convert an architecture file of the original Archon project.

    Print a warning for each key that cannot be converted, and for each rule of the paper that FILE
    breaks.
    """
    from archon.convert import convert as convert_data
    from archon.graph.loading import Loader
    from archon.spec.strict_json import read_json

    source = Path(file)
    path = Path(f"{source.stem}.archon.json" if output is None else output)
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder; --output must be a file")
    data = read_json(source, file)
    if path.exists() and path.samefile(source):
        raise UsageError(f"{path} is both input and output; choose another file with --output")
    conversion = convert_data(data, file, default_name=source.stem[:200])
    Loader().architecture(conversion.architecture)  # the written file must be valid
    text = json.dumps(conversion.architecture, indent=2, ensure_ascii=False, allow_nan=False)
    write_file(path, [text, "\n"])
    if as_json:
        emit(
            {
                "output": str(path),
                "name": conversion.architecture["name"],
                "num_nodes": len(conversion.architecture["nodes"]),
                "num_models": len(conversion.architecture["models"]),
                "not_carried": [loss.to_json() for loss in conversion.losses],
                "warnings": [remark.to_json() for remark in conversion.remarks],
            }
        )
    _print(path, conversion, ResultPrinter(as_json))


def _print(path: Path, conversion: Conversion, out: ResultPrinter) -> None:
    from archon.spec.messages import json_path

    nodes, models = (len(conversion.architecture[key]) for key in ("nodes", "models"))
    out.line(f"architecture: {path} ({nodes} nodes, {models} models)")
    lines = _grouped(
        "warning",
        ((f"{each.reason} [{each.rule}]", json_path(each.path)) for each in conversion.remarks),
    )
    lines += _grouped(
        "not carried over",
        ((f"{loss.key!r}: {loss.reason}", json_path(loss.path)) for loss in conversion.losses),
    )
    hidden = len(lines) - _MAX_LINES
    lines = lines[:_MAX_LINES] + (
        [f"and {hidden} more; use --json to list all"] if hidden > 0 else []
    )
    if lines:
        print_line("\n".join(lines))


def _grouped(heading: str, messages: Iterable[tuple[str, str]]) -> list[str]:
    """Return one line per distinct warning, with the JSON paths that it is about."""
    paths_by_message: dict[str, list[str]] = {}
    for text, path in messages:
        paths_by_message.setdefault(text, []).append(path)
    lines = []
    for text, paths in paths_by_message.items():
        more = len(paths) - _MAX_PATHS
        listed = ", ".join(paths[:_MAX_PATHS])
        if more > 0:
            listed += f" and {counted(more, 'more place')}"
        lines.append(f"{heading}: {text} (at {listed})")
    return lines
