"""Values that a shell completes: names of the catalogue, runs, roles, keys of ``--set``, files.

Each function has the signature of click's ``shell_complete``. A shell runs the command at each
press of the tab key, so these functions import only what they need, and open no model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archon.errors import ArchonError
from archon.spec import catalog

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

Complete = Callable[["click.Context", "click.Parameter", str], "list[CompletionItem]"]
_RUN_FILES = ("run.json", "study.db", "command.json", "*/run.json")

SCORER_NAMES = (
    "choice",
    "code",
    "f1",
    "ifeval",
    "includes",
    "inspect-answer",
    "inspect-choice",
    "inspect-exact",
    "inspect-f1",
    "inspect-includes",
    "inspect-match",
    "json",
    "judge",
    "lm-eval-cot-strict-match",
    "lm-eval-flexible-extract",
    "lm-eval-strict-match",
    "math",
    "number-close",
    "number-exact",
    "regex",
    "text-exact",
)
"""Names of the scorers, whose modules take a second to import; a test compares them."""


def names(*kinds: catalog.Kind) -> Complete:
    """Return a function that completes catalogue names of these kinds, or else files."""

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return _values((name for kind in kinds for name in catalog.names(kind)), incomplete)

    return complete


def files(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the path of a file."""
    return _paths("file", incomplete)


def folders(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the path of a folder."""
    return _paths("dir", incomplete)


def runs(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the folders of runs, comparisons and studies in ``runs``, or other folders."""
    root = Path("runs")
    found = [f"{child}" for child in sorted(root.glob("*")) if _holds_run(child)]
    return _values(found, incomplete, otherwise="dir")


def _holds_run(folder: Path) -> bool:
    return any(next(folder.glob(name), None) is not None for name in _RUN_FILES)


def models(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete ``NAME``, and ``ROLE=NAME`` with the roles of the architectures given before."""
    cards = catalog.names("model")
    role, separator, _ = incomplete.partition("=")
    if separator:
        return _values((f"{role}={card}" for card in cards), incomplete)
    roles = dict.fromkeys(r for data in _architectures(context) for r in data.get("models") or {})
    return _values([*(f"{role}=" for role in roles), *cards], incomplete)


def scorers(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the names of scorers."""
    return _values(SCORER_NAMES, incomplete)


def settings(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete a key of ``--set`` one step at a time, and the values of keys with a few values."""
    from archon.cli.setting_keys import setting_texts

    texts = dict.fromkeys(
        text for data in _architectures(context) for text in setting_texts(data, incomplete)
    )
    return _values(texts, incomplete, otherwise=None)


def _architectures(context: click.Context) -> Iterable[Mapping[str, Any]]:
    """Yield the data of the architectures that the command line names so far."""
    from archon.spec.strict_json import read_json

    given = context.params.get("archs") or context.params.get("arch") or ()
    for ref in (given,) if isinstance(given, str) else given:
        with contextlib.suppress(ArchonError, OSError):
            data = read_json(catalog.find("architecture", ref), ref)
            if isinstance(data, dict):
                yield data


def _values(
    values: Iterable[str], incomplete: str, otherwise: str | None = "file"
) -> list[CompletionItem]:
    """Return the values that continue a word; if there are none, let the shell complete paths."""
    from click.shell_completion import CompletionItem

    found = [CompletionItem(value) for value in values if value.startswith(incomplete)]
    return found or ([] if otherwise is None else _paths(otherwise, incomplete))


def _paths(kind: str, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type=kind)]
