"""Command class for a free-text argument that may start with a minus sign."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from archon.cli.options import Command

_OPTION = re.compile(r"--?[A-Za-z][A-Za-z0-9_-]*(=.*)?", re.DOTALL)
"""Matches a word that looks like an option, such as ``-x``, ``--model`` or ``--seed=3``."""


class FreeTextCommand(Command):
    """A command that accepts arguments with a leading minus sign unless they look like options.

    ``-5 + 3 = ?``, ``-x + 1 = 0`` and ``--5`` are arguments. ``--modle`` and ``-x`` are reported as
    unknown options unless they follow ``--``.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move all arguments after ``--``, so that click does not parse them as options."""
        options, arguments = self._split(ctx, self.complete_words(ctx, args))
        try:
            return super().parse_args(ctx, [*options, "--", *arguments])
        except click.NoSuchOption as error:
            if error.option_name.startswith("--"):
                raise
            message = (
                f"{error.message} If the question itself looks like an option, put '--' before it."
            )
            raise click.NoSuchOption(error.option_name, message, ctx=ctx) from None

    def _split(self, ctx: click.Context, args: Sequence[str]) -> tuple[list[str], list[str]]:
        """Split words into options (with their values) and arguments, both in order."""
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
