"""``archon chat``: a conversation with an architecture or a model in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from archon.cli import completers
from archon.cli.console import console, emit, print_line
from archon.cli.exits import FAILED
from archon.cli.options import (
    changes_options,
    command,
    models_by_role,
    models_option,
    seed_option,
    tracing_options,
)
from archon.errors import UsageError
from archon.types import SamplingParams

if TYPE_CHECKING:
    from archon.cli.chat_session import ChatSession
    from archon.spec.changes import Changes

_BLOCK = '"""'


@command
@click.argument(
    "arch", metavar="ARCH|MODEL", shell_complete=completers.names("architecture", "model")
)
@models_option
@changes_options
@click.option("--system", metavar="TEXT", help="System message at the start of the conversation.")
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="P",
    help="Sample from the most likely tokens with this total probability.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    metavar="N",
    help="Generate at most N tokens per completion.",
)
@seed_option()
@tracing_options
def chat(
    arch: str,
    models: Sequence[str],
    changes: Changes,
    system: str | None,
    top_p: float | None,
    max_tokens: int | None,
    seed: int,
    as_json: bool,
) -> int:
    """Talk to an architecture or a model in the terminal.

    Answers are streamed, and every question is asked with the conversation before it. Ctrl-C
    cancels an answer, Ctrl-D ends the conversation, and /help lists the commands. A message of
    several lines stands between lines with three double quotes, or each of its lines but the last
    ends with a backslash. Without a terminal, each line of standard input is a message.
    """
    from archon.cli.chat_session import ChatSession

    with ChatSession(
        arch,
        models_by_role(models),
        changes,
        sampling=SamplingParams(top_p=top_p, max_tokens=max_tokens),
        seed=seed,
        system=system,
    ) as session:
        if _is_terminal():
            print_line(f"{session.name}: /help lists the commands, Ctrl-D ends", "dim")
        num_failed = _converse(session, streams=not as_json)
        if as_json:
            emit(session.to_json())
    return FAILED if num_failed and not _is_terminal() else 0


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _converse(session: ChatSession, *, streams: bool) -> int:
    """Read and answer messages until the end; return the number of failed ones."""
    if _is_terminal():
        import readline  # noqa: F401  (gives ``input`` a history and editing)
    num_failed = 0
    while True:
        try:
            text = read_message(_line)
        except EOFError:
            return num_failed
        except KeyboardInterrupt:
            if not _is_terminal():
                raise
            console().print()
            continue
        if not text.strip():
            continue
        if text.startswith("/") and _BLOCK not in text:
            if not _obey(session, text):
                return num_failed
        else:
            num_failed += not session.answer(text, sys.stdout if streams else None)


def read_message(read_line: Callable[[str], str]) -> str:
    r"""Read a message with a function that reads one line after a prompt.

    >>> lines = iter(["one \\", "two"])
    >>> read_message(lambda prompt: next(lines))
    'one \ntwo'

    Raises
    ------
    EOFError
        There are no more lines.
    """
    line = read_line("> ")
    lines: list[str] = []
    if line.strip().startswith(_BLOCK):
        rest = line.strip().removeprefix(_BLOCK)
        while not rest.endswith(_BLOCK):
            lines.append(rest)
            rest = read_line(". ")
        return "\n".join([*lines, rest.removesuffix(_BLOCK)]).strip("\n")
    while line.endswith("\\"):
        lines.append(line[:-1])
        line = read_line(". ")
    return "\n".join([*lines, line])


def _line(prompt: str) -> str:
    """Read a line; the prompt never goes to a standard output that is not a terminal."""
    if sys.stdin is None:
        raise EOFError
    if not _is_terminal():
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.rstrip("\r\n")
    if sys.stdout.isatty():
        return input(prompt)
    print(prompt, end="", file=sys.stderr, flush=True)
    return input()


_HELP = """\
/help           list these commands
/reset          forget the conversation; the system message stays
/system TEXT    replace the system message; without TEXT, remove it
/model NAME     continue with another model; ROLE=NAME changes one role
/trace          print every prompt and completion of the last answer
/save FILE      write the conversation to a JSON file
/exit           end the conversation, like Ctrl-D
Three double quotes begin and end a message of several lines; a backslash at the end of a line
continues it. Ctrl-C cancels an answer."""
_COMMANDS = ("help", "reset", "system", "model", "trace", "save", "exit")


def _obey(session: ChatSession, text: str) -> bool:
    """Run a command of the conversation; return False if it ends the conversation."""
    from archon.errors import ArchonError
    from archon.spec.messages import suggestion

    name, _, rest = text[1:].strip().partition(" ")
    rest = rest.strip()
    actions: dict[str, Callable[[], None]] = {
        "help": partial(print_line, _HELP),
        "reset": session.reset,
        "system": partial(session.set_system, rest),
        "model": partial(session.set_model, rest),
        "trace": session.print_trace,
        "save": partial(session.save, rest),
    }
    if name in ("exit", "quit"):
        return False
    try:
        if name not in actions:
            raise UsageError(f"there is no command /{name}{suggestion(name, _COMMANDS)}")
        actions[name]()
    except ArchonError as error:
        print_line(f"archon: error: {error}", "red")
    return True
