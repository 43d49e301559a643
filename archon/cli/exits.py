"""Exit codes, and the one place where an exception becomes a message and a code.

====  ==============================================================
0     done
1     failed
2     what the user gave is wrong: a file, a name, an option
100   a threshold of ``--require`` was missed
130   interrupted; everything finished so far is kept
====  ==============================================================
"""

from __future__ import annotations

import logging
import os
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

_MENDABLE = (
    SpecError,
    GraphError,
    UsageError,
    MissingExtraError,
    ModelFileError,
    ContextLengthError,
)
"""What the user can mend in what was given."""


def report(error: BaseException) -> int:
    """Tell a person what went wrong, and return the exit code for it."""
    if logging.getLogger().isEnabledFor(logging.DEBUG) and not isinstance(error, SystemExit):
        traceback.print_exception(error)
    match error:
        case SystemExit():
            raise error
        case click.exceptions.NoArgsIsHelpError() | click.ClickException():
            error.show()
            return WRONG_INPUT
        case click.Abort() | KeyboardInterrupt():
            _say("interrupted")
            return INTERRUPTED
        case BrokenPipeError():
            # The reader of our output is gone; nor can Python flush to it when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        case ArchonError():
            _say(f"error: {error}")
            return exit_code(error)
        case _:
            _say(
                f"internal error: {type(error).__name__}: {error}\n"
                "the option --log-level debug shows where it comes from"
            )
            return FAILED


def exit_code(error: ArchonError) -> int:
    """2 where the user can mend the input, else 1; a node's failure counts as its cause."""
    cause = error.__cause__
    if isinstance(error, NodeError) and isinstance(cause, ArchonError):
        return exit_code(cause)
    return WRONG_INPUT if isinstance(error, _MENDABLE) else FAILED


def _say(text: str) -> None:
    print(f"archon: {text}", file=sys.stderr)
