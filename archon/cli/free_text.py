"""A command with an argument of free text, which may begin with a minus sign."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from archon.cli.options import Command

_OPTION = re.compile(r"--?[A-Za-z][A-Za-z0-9_-]*(=.*)?", re.DOTALL)
"""What is written like an option, known or not."""


class FreeTextCommand(Command):
    """Takes what begins with a minus sign and is not written like an option as an argument.

    ``-5 + 3 = ?``, ``-x + 1 = 0`` and ``--5`` are arguments. ``--modle`` and ``-x`` are unknown
    options, as in any command; after ``--`` they are arguments.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the arguments after ``--``, where click looks for no option."""
        options, arguments = self._divided(ctx, args)
        try:
            return super().parse_args(ctx, [*options, "--", *arguments])
        except click.NoSuchOption as error:
            if error.option_name.startswith("--"):
                raise
            message = f"{error.message} A question that looks like an option goes after '--'."
            raise click.NoSuchOption(error.option_name, message, ctx=ctx) from None

    def _divided(self, ctx: click.Context, args: Sequence[str]) -> tuple[list[str], list[str]]:
        """The options with their values, and the arguments, each in the order given."""
        takes_value = {
            name: not (param.is_flag or param.count)
            for param in self.get_params(ctx)
            if isinstance(param, click.Option)
            for name in (*param.opts, *param.secondary_opts)
        }
        options: list[str] = []
        arguments: list[str] = []
        rest = list(args)
        while rest:
            word = rest.pop(0)
            if word == "--":
                return options, [*arguments, *rest]
            if takes_value.get(word, False):
                if not rest:
                    reason = f"Option {word!r} requires an argument."
                    raise click.BadOptionUsage(word, reason, ctx)
                options += [word, rest.pop(0)]
            elif word in takes_value or _OPTION.fullmatch(word):
                options.append(word)
            else:
                arguments.append(word)
        return options, arguments
