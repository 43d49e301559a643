"""What commands share: the options that all have, and the form of those that many have."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import click

from archon.errors import UsageError

LEVELS = ("debug", "info", "warning", "error")


def command(
    function: Callable[..., int | None], kind: type[click.Command] = click.Command
) -> click.Command:
    """A command with the options of every command: ``--json`` (``as_json``), ``--log-level``."""
    with_level = click.option(
        "--log-level",
        type=click.Choice(LEVELS),
        default="warning",
        callback=_set_log_level,
        expose_value=False,
        help="How much to tell on standard error; debug adds tracebacks.",
    )
    with_json = click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
    )
    return click.command(cls=kind)(with_json(with_level(function)))


def _set_log_level(context: click.Context, parameter: click.Parameter, level: str) -> None:
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", force=True)
    logging.getLogger().setLevel(level.upper())


models_option = click.option(
    "--model",
    "models",
    metavar="ROLE=NAME",
    multiple=True,
    help="Put another model in the place of a role; may be given several times.",
)

seed_option = click.option(
    "--seed", type=int, default=0, show_default=True, help="Changes draws, never items."
)


def models_by_role(given: Sequence[str]) -> dict[str, Any]:
    """``ROLE=NAME`` texts as a mapping.

    Raises
    ------
    UsageError : a text has no ``=``, or a role is given twice.
    """
    models: dict[str, Any] = {}
    for text in given:
        role, separator, name = text.partition("=")
        if not (role and separator and name):
            raise UsageError(f"--model takes ROLE=NAME, not {text!r}")
        if role in models:
            raise UsageError(f"--model names the role {role!r} twice")
        models[role] = name
    return models
