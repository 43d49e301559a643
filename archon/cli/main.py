"""Entry point of the command line, and the table of its commands.

The module of a command is imported only when the command is called. The tables therefore repeat
each command's summary, which is the first paragraph of its help text.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

import click

from archon.cli.examples import write_examples
from archon.cli.exits import report
from archon.cli.options import plugin_option
from archon.train.registry import TRAININGS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class LazyGroup(click.Group):
    """A command group that imports a command's module only when the command is called.

    Parameters
    ----------
    table
        Command name → (``module:attribute``, summary for ``--help``). The attribute is the command,
        or a function that builds it from its name.
    """

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module_name, _, attribute = self.table[cmd_name][0].partition(":")
        found = getattr(importlib.import_module(module_name), attribute)
        command = found if isinstance(found, click.Command) else found(cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a subcommand; the error for an unknown one suggests a similar name."""
        name = args[0]
        if name not in self.table and not name.startswith("-") and not ctx.resilient_parsing:
            from archon.spec.messages import shown, suggestion

            kind = f"{ctx.command_path} has no command"
            raise click.UsageError(f"{kind} {shown(name)}{suggestion(name, self.table)}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete subcommands without importing their modules, and options."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        rows = self.table.items()
        return [
            CompletionItem(name, help=summary)
            for name, (_, summary) in rows
            if name.startswith(incomplete)
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self.table.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples of the group."""
        write_examples(ctx.command_path, formatter)


models = LazyGroup(
    name="models",
    help="Manage model cards and their weights.",
    table={
        "ls": (
            "archon.cli.models:ls",
            "List the catalogue's model cards and other models downloaded from the hub.",
        ),
        "pull": (
            "archon.cli.models:pull",
            "Download a model's weights and verify their SHA-256 digest.",
        ),
        "show": (
            "archon.cli.models:show",
            "Print a model card and facts about the model, without downloading weights.",
        ),
        "rm": ("archon.cli.models:rm", "Delete a model's weights from Archon's cache."),
    },
)

cache = LazyGroup(
    name="cache",
    help="Manage cached samples, packed weights and compiled kernels.",
    table={
        "ls": ("archon.cli.cache:ls", "List the contents of the cache and its size on disk."),
        "clear": (
            "archon.cli.cache:clear",
            "Delete cached files; by default, only stored samples.",
        ),
    },
)

bench = LazyGroup(
    name="bench",
    help="Benchmark speed and quality on this machine.",
    table={
        "engine": ("archon.cli.bench:engine", "Benchmark the local inference engine."),
        "graph": ("archon.cli.bench:graph", "Benchmark the overhead of running a graph."),
        "peers": (
            "archon.cli.bench:peers",
            "Compare the local engine with llama.cpp and transformers.",
        ),
        "serve": ("archon.cli.bench:serve", "Measure the server's overhead under load."),
        "quality": (
            "archon.cli.bench:quality",
            "Measure the perplexity of a text at every precision.",
        ),
    },
)

train = LazyGroup(
    name="train",
    help="Train models.",
    table={k: ("archon.cli.train:train_command", row.summary) for k, row in TRAININGS.items()},
)

archon = LazyGroup(
    name="archon",
    help="Run inference-time architectures on local language models.",
    context_settings={"help_option_names": ["-h", "--help"]},
    table={
        "run": ("archon.cli.run:run", "Answer one question."),
        "chat": ("archon.cli.chat:chat", "Talk to an architecture or a model in the terminal."),
        "eval": ("archon.cli.evaluate:evaluate", "Evaluate an architecture on a benchmark."),
        "compare": (
            "archon.cli.compare:compare",
            "Compare architectures on the same benchmark items, or finished runs.",
        ),
        "curve": (
            "archon.cli.curve:curve",
            "Plot accuracy and pass@k against the number of samples and the cost.",
        ),
        "resume": (
            "archon.cli.resume:resume",
            "Continue a run, a comparison or a search with the options that it was started with.",
        ),
        "search": ("archon.cli.search:search", "Find the best architecture in a search space."),
        "view": (
            "archon.cli.view:view",
            "Render runs, a study or a folder of runs as a single HTML page.",
        ),
        "rm": ("archon.cli.rm:rm", "Delete the folders of runs."),
        "export": (
            "archon.cli.export:export",
            "Export the records of a run as JSONL or CSV, or for Inspect or lm-eval.",
        ),
        "serve": ("archon.cli.serve:serve", "Serve architectures over an OpenAI-compatible API."),
        "validate": ("archon.cli.files:validate", "Check that files are valid."),
        "schema": ("archon.cli.files:schema", "Print the JSON Schema of a file type."),
        "show": ("archon.cli.files:show", "Print an architecture as a Mermaid flowchart."),
        "convert": (
            "archon.cli.convert:convert",
            "Convert an architecture file of the original Archon project.",
        ),
        "ls": ("archon.cli.ls:ls", "List architectures, benchmarks, models, templates and more."),
        "models": ("archon.cli.main:models", "Manage model cards and their weights."),
        "cache": (
            "archon.cli.main:cache",
            "Manage cached samples, packed weights and compiled kernels.",
        ),
        "train": ("archon.cli.main:train", "Train models."),
        "bench": ("archon.cli.main:bench", "Benchmark speed and quality on this machine."),
        "doctor": (
            "archon.cli.doctor:doctor",
            "Check this machine and installation, and explain what limits speed and function.",
        ),
        "completion": (
            "archon.cli.completion:completion",
            "Print a script that completes commands, options and names in a shell.",
        ),
    },
)
click.version_option(package_name="archon-inference", prog_name="archon")(archon)
plugin_option(archon)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code (``archon.cli.exits``)."""
    try:
        if "_ARCHON_COMPLETE" in os.environ:  # a shell asks for completions, as click defines
            from archon.cli.completion import register

            register()
        if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
            sys.stdout.reconfigure(errors="backslashreplace")  # for terminals without Unicode
        code = archon.main(args=arguments, prog_name="archon", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:
        return report(error)
    return code if isinstance(code, int) else 0
