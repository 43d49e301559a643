"""Convert exceptions to error messages and exit codes.

====  ==============================================================
0     success
1     failure
2     invalid input: a file, a name or an option
100   accuracy below the threshold of ``--require``
130   interrupted; finished work is kept
====  ==============================================================
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback

import click

from archon.errors import (
    ArchonError,
    ContextLengthError,
    GraphError,
    MissingExtraError,
    ModelFileError,
    NodeError,
    SpecError,
    UsageError,
)

FAILED, WRONG_INPUT, REQUIREMENT_MISSED, INTERRUPTED = 1, 2, 100, 130

_INPUT_ERRORS = (
    SpecError,
    GraphError,
    UsageError,
    MissingExtraError,
    ModelFileError,
    ContextLengthError,
)
"""Errors that the user can fix by changing the input."""


def report(error: BaseException) -> int:
    """Print an error message on standard error, and return the exit code."""
    if logging.getLogger().isEnabledFor(logging.DEBUG) and not isinstance(error, SystemExit):
        traceback.print_exception(error)
    match error:
        case SystemExit():
            raise error
        case click.exceptions.NoArgsIsHelpError():
            error.show()
            return WRONG_INPUT
        case click.ClickException():
            _print(f"error: {_sentence(error.format_message())}")
            if isinstance(error, click.UsageError) and error.ctx is not None:
                _print(f"see {error.ctx.command_path} --help")
            return WRONG_INPUT
        case click.Abort() | KeyboardInterrupt():
            _print("interrupted")
            return INTERRUPTED
        case BrokenPipeError():
            # Standard output is closed; without this, Python's flush at exit would fail as well.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        case ArchonError():
            _print(f"error: {error}")
            return exit_code(error)
        case _:
            _print(
                f"internal error: {type(error).__name__}: {error}\n"
                "run the command with --log-level debug to see the traceback"
            )
            return FAILED


def exit_code(error: ArchonError) -> int:
    """Return 2 if the user must change the input, otherwise 1. A NodeError counts as its cause."""
    cause = error.__cause__
    if isinstance(error, NodeError) and isinstance(cause, ArchonError):
        return exit_code(cause)
    return WRONG_INPUT if isinstance(error, _INPUT_ERRORS) else FAILED


def _sentence(message: str) -> str:
    """Return a message of click in the style of Archon's errors.

    >>> _sentence("No such option '--seeed'. Did you mean '--seed'?")
    "no such option '--seeed'; did you mean '--seed'?"
    """
    several = re.sub(r"\. \(Did you mean one of: (.*)\?\)$", r"; did you mean one of \1?", message)
    text = several.replace(". Did you mean ", "; did you mean ").removesuffix(".")
    return text[:1].lower() + text[1:]


def _print(text: str) -> None:
    print(f"archon: {text}", file=sys.stderr)
