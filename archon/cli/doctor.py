"""``archon doctor``: check this machine and installation."""

from __future__ import annotations

from dataclasses import asdict

import click

from archon.cli.console import ResultPrinter, emit, spinner
from archon.cli.exits import FAILED
from archon.cli.options import command

_STYLES = {"ok": "green", "note": "dim", "warning": "yellow", "broken": "red"}


@command
@click.option(
    "--online", is_flag=True, help="Also check that the model hub can be reached; uses the network."
)
def doctor(online: bool, as_json: bool) -> int:
    """Check this machine and installation, and explain what limits speed and function.

    Each line says what was found; if it costs speed or function, the lines below name the effect
    and the cure. The exit code is 1 only if something that every command needs is broken.
    """
    from archon.cli.doctor_checks import all_checks

    with spinner("checking"):
        checks = all_checks(online=online)
    is_broken = any(check.state == "broken" for check in checks)
    if as_json:
        emit({"ok": not is_broken, "checks": [asdict(check) for check in checks]})
        return FAILED if is_broken else 0
    out = ResultPrinter()
    width = max(len(check.name) for check in checks)
    for check in checks:
        out.line(f"{check.state:8} {check.name:{width}}  {check.found}", _STYLES[check.state])
        for label, text in (("effect", check.effect), ("cure", check.cure)):
            if text:
                out.line(f"{'':8} {'':{width}}  {label}: {text}")
    return FAILED if is_broken else 0
