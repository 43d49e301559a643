"""``archon resume``: continue a run, a comparison or a search without repeating its options."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from archon.cli import completers
from archon.cli.options import command
from archon.cli.stored_command import (
    STUDY_COMMAND,
    StoredCommand,
    is_stored_command,
    started_in,
)
from archon.errors import UsageError
from archon.plugins import discovery
from archon.plugins.identity import missing


@command
@click.argument("run", shell_complete=completers.runs)
@click.option(
    "--limit",
    type=int,
    metavar="N",
    help="Raise the number of items to N, also of a finished run; only the new items are asked.",
)
@click.option("--keep-errors", is_flag=True, help="Do not retry failed items.")
@click.option(
    "--max-errors",
    metavar="N|SHARE",
    help="Stop when more answers fail than this limit; see archon eval.",
)
def resume(
    run: str, limit: int | None, keep_errors: bool, max_errors: str | None, as_json: bool
) -> int:
    """Continue a run, a comparison or a search with the options that it was started with.

    RUN is the folder of an evaluation run, the --output folder of a comparison, the folder of
    scaling curves, or the folder of a study. Options given here replace the stored ones. In a
    finished run, only failed items are asked again.
    """
    path = Path(run)
    stored, is_study = _stored(path)
    changed: dict[str, str | None] = {
        "--limit": None if limit is None else str(limit),
        "--max-errors": max_errors,
        "--keep-errors": "" if keep_errors else None,
    }
    given = {name: value for name, value in changed.items() if value is not None}
    if is_study and given:
        raise UsageError(
            f"{path} is a study, for which archon resume has no {' or '.join(given)}; use archon "
            "search --resume with the study's options"
        )
    arguments = _with_options(stored["arguments"], given)
    if is_study:
        _check_place(path, stored)
        arguments[:0] = ["--resume"]
    else:
        output = path if Path(stored["folder"]) == Path.cwd() else path.absolute()
        arguments[:0] = [f"--output={output}", "--resume"]
    arguments[:0] = ["--json"] if as_json else []
    _check_plugins(path, stored)
    return _run(stored, arguments)


def _check_place(path: Path, stored: StoredCommand) -> None:
    """Check that the search continues the study in ``path``, and does not start another."""
    from archon.study.storage import study_folder

    names = [each.partition("=")[2] for each in stored["arguments"] if each.startswith("--study=")]
    with started_in(stored["folder"]):
        found = study_folder(names[0]).resolve() if names else None
    if found != path.resolve():
        raise UsageError(
            f"the study was moved to {path} from {stored['folder']}; move its folder back, or "
            "repeat the options with archon search --resume"
        )


def _run(stored: StoredCommand, arguments: Sequence[str]) -> int:
    from archon.cli.main import archon

    with started_in(stored["folder"]):
        code = archon.main(
            args=[stored["name"], *arguments], prog_name="archon", standalone_mode=False
        )
    return code if isinstance(code, int) else 0


def _check_plugins(path: Path, stored: StoredCommand) -> None:
    """Check that everything from plug-ins that a run used is registered.

    Raises
    ------
    UsageError
        A plug-in is missing. The error names what it provided.
    """
    from archon.evals.folder import RunFolder

    if not RunFolder(path).holds_run:
        return
    used = RunFolder(path).read_description()["specification"].get("plugins")
    if not used:
        return
    with started_in(stored["folder"]):
        for each in stored["arguments"]:
            if each.startswith("--plugin="):
                discovery.load(each.partition("=")[2])
    discovery.load_all()
    if lacking := missing(used):
        raise UsageError(
            f"{path} used plug-ins that are not found: {', '.join(lacking)}; install the plug-in, "
            "or set ARCHON_PLUGINS to its file or module"
        )


def _stored(path: Path) -> tuple[StoredCommand, bool]:
    """Return the command stored in a folder, and whether the folder is a study's.

    Raises
    ------
    UsageError
        The folder contains nothing that can be resumed, or it was written without a command.
    """
    from archon.evals.folder import RunFolder
    from archon.evals.run_spec import COMMAND, COMPARISON
    from archon.study.load_study import is_study

    if path.is_dir() and is_study(str(path)):
        found = _read(path / STUDY_COMMAND)
        hint = f"archon search SPACE BENCH --study {path.name} --resume"
        return _checked(path, found, "search", hint), True
    if RunFolder(path).holds_run:
        description = RunFolder(path).read_description()
        hint = _eval_line(path, description)
        return _checked(path, description.get(COMMAND), "eval", hint), False
    for child in sorted(path.iterdir()) if path.is_dir() else ():
        if RunFolder(child).holds_run:
            found = RunFolder(child).read_description().get(COMPARISON)
            name = (
                "curve"
                if isinstance(found, Mapping) and found.get("name") == "curve"
                else "compare"
            )
            hint = f"archon compare ARCH ARCH -b BENCH --output {path} --resume"
            return _checked(path, found, name, hint), False
    raise UsageError(f"{path} contains no run, comparison or study")


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _checked(path: Path, found: Any, name: str, hint: str) -> StoredCommand:
    if not is_stored_command(found) or found["name"] != name:
        raise UsageError(
            f"{path} does not contain the command that started it (an earlier version of Archon "
            f"or a Python program wrote it); repeat its options with {hint}"
        )
    return StoredCommand(
        name=found["name"], arguments=list(found["arguments"]), folder=found["folder"]
    )


def _eval_line(path: Path, description: Mapping[str, Any]) -> str:
    """Return a command line that resumes a run without a stored command, as far as known."""
    from archon.evals.run_spec import fault, headings

    if fault(description) is not None:
        return f"archon eval ARCH BENCH --output {path} --resume"
    known = headings(description)
    options = [f"--{name} {known[name]}" for name in ("limit", "split", "seed", "epochs")]
    options = [option for option in options if not option.endswith(" None")]
    return f"archon eval ARCH BENCH {' '.join(options)} --output {path} --resume"


def _with_options(arguments: Sequence[str], given: Mapping[str, str]) -> list[str]:
    """Replace options in stored arguments; an empty value is a flag."""
    kept = [each for each in arguments if each.partition("=")[0] not in given]
    return [f"{name}={value}" if value else name for name, value in given.items()] + kept
