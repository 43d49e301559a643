"""Store the command line of a run, and run it again to continue the run.

``run.json`` contains it under the key ``command``, and the folder of a study in ``command.json``::

    {"name": "eval", "arguments": ["--limit=100", "single", "gsm8k"], "folder": "/home/me/work"}

Plug-ins that the user named are stored as ``--plugin``. The arguments of ``eval`` and ``compare``
have no ``--output`` and no ``--resume``; ``archon resume`` adds them. ``folder`` is the folder in
which the command was started, to which relative paths in the arguments refer.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import click
from click.core import ParameterSource

from archon.plugins.discovery import requested

_NEVER_STORED = ("as_json",)
OUTPUT_OPTIONS = ("output", "resume")
"""Names of the options of ``eval`` and ``compare`` that ``archon resume`` adds."""
STUDY_COMMAND = "command.json"
"""Name of the file in a study's folder that contains the command of its search."""


class StoredCommand(TypedDict):
    """A command line as plain data."""

    name: str
    """Name of the command, such as ``eval``."""
    arguments: list[str]
    folder: str


def this_command(
    name: str, *, places: Sequence[str] | None = None, without: Sequence[str] = ()
) -> StoredCommand:
    """Return the command that is running, with only the options that the user gave.

    Parameters
    ----------
    name
        The command to store, which has the same options as the running one.
    places
        Positional arguments that replace those of the running command.
    without
        Names of options that are left out.
    """
    context = click.get_current_context()
    options: list[str] = []
    given: list[str] = []
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        if isinstance(parameter, click.Argument):
            given += [value] if isinstance(value, str) else [str(each) for each in value or ()]
        elif isinstance(parameter, click.Option) and _is_given(context, parameter, without):
            options += _texts(parameter, value)
    positional = given if places is None else list(places)
    guard = ["--"] if any(place.startswith("-") for place in positional) else []
    plugins = [f"--plugin={each}" for each in requested()]
    arguments = [*plugins, *options, *guard, *positional]
    return {"name": name, "arguments": arguments, "folder": str(Path.cwd())}


def given_options(without: Sequence[str] = ()) -> list[str]:
    """Return the options of the running command that the user gave, such as ``--limit``."""
    context = click.get_current_context()
    return [
        max(each.opts, key=len)
        for each in context.command.params
        if isinstance(each, click.Option) and _is_given(context, each, without)
    ]


def _is_given(context: click.Context, option: click.Option, without: Sequence[str]) -> bool:
    name = str(option.name)
    if not option.expose_value:  # logs and tracing of this process, which the command does not see
        return False
    source = context.get_parameter_source(name)
    return name not in (*_NEVER_STORED, *without) and source is ParameterSource.COMMANDLINE


def _texts(option: click.Option, value: Any) -> list[str]:
    """Return the arguments that give an option this value."""
    name = max(option.opts, key=len)
    if option.is_flag:
        return [name if value else max(option.secondary_opts, key=len)]
    return [f"{name}={each}" for each in (value if option.multiple else [value])]


def is_stored_command(data: object) -> bool:
    """Return whether data from a file is a command that can be run."""
    return (
        isinstance(data, Mapping)
        and isinstance(data.get("name"), str)
        and isinstance(data.get("folder"), str)
        and isinstance(data.get("arguments"), list)
        and all(isinstance(each, str) for each in data["arguments"])
    )


def resume_line(path: Path) -> str:
    """Return the command that continues the run in a folder.

    >>> resume_line(Path("runs/my run"))
    "archon resume 'runs/my run'"
    """
    return f"archon resume {shlex.quote(str(path))}"


@contextlib.contextmanager
def started_in(folder: str) -> Iterator[None]:
    """Change to the folder in which a command was started while the block runs.

    If that folder no longer exists, for example because the run was copied to another machine, the
    current folder is kept.
    """
    with contextlib.chdir(folder) if Path(folder).is_dir() else contextlib.nullcontext():
        yield
