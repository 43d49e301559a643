"""Options and checks shared by several commands."""

from __future__ import annotations

import functools
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from archon.cli import completers
from archon.cli.examples import write_examples
from archon.errors import StorageError, UsageError, os_reason, require
from archon.spec.messages import shown
from archon.spec.model_strings import ALL_ROLES
from archon.tracing.provider import CAPTURE_CONTENT
from archon.types import AnswerKind

if TYPE_CHECKING:
    from archon.evals.benchmarks.columns import Columns

LEVELS = ("debug", "info", "warning", "error")


class Command(click.Command):
    """A command that rejects repeated options; click would silently use the last value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            _, _, given = self.make_parser(ctx).parse_args(args=list(args))
            for option, number in Counter(given).items():
                if number > 1 and _takes_one_value(option):
                    name = max(option.opts, key=len)
                    raise click.UsageError(f"{name} appears {number} times; give it only once")
        return super().parse_args(ctx, self.complete_words(ctx, args))

    def complete_words(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave out a last option without its value while a shell completes that value.

        click would otherwise give up, and not know the arguments before it.
        """
        if not (ctx.resilient_parsing and args):
            return args
        is_cut = any(args[-1] in option.opts and _takes_value(option) for option in self.params)
        return args[:-1] if is_cut else args

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples of the command."""
        write_examples(ctx.command_path, formatter)


def _takes_value(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and not (parameter.is_flag or parameter.count)


def _takes_one_value(parameter: click.Parameter) -> bool:
    """Return True if an option accepts exactly one value, which a repetition would overwrite."""
    if not isinstance(parameter, click.Option) or parameter.multiple or parameter.count:
        return False
    return not parameter.is_flag or bool(parameter.secondary_opts)


def command(function: Callable[..., int | None], kind: type[Command] = Command) -> click.Command:
    """Turn a function into a command that also has the ``--json`` and ``--log-level`` options."""
    with_level = click.option(
        "--log-level",
        type=click.Choice(LEVELS),
        default="warning",
        show_default=True,
        callback=_set_log_level,
        expose_value=False,
        help="Log messages at or above this level to standard error. With debug, errors include "
        "tracebacks.",
    )
    with_json = click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print the result as one JSON object on standard output.",
    )
    return click.command(cls=kind)(with_json(with_level(plugin_option(function))))


def _load_plugins(
    context: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> None:
    if given and not context.resilient_parsing:
        from archon.plugins.discovery import load

        for ref in given:
            load(ref)


plugin_option = click.option(
    "--plugin",
    metavar="FILE.py|MODULE",
    multiple=True,
    is_eager=True,
    expose_value=False,
    callback=_load_plugins,
    help="Load node types, scorers, templates, benchmarks and providers from a Python file or "
    "module; may be repeated.",
)
"""The option is valid before and after the name of a command."""


def _set_log_level(context: click.Context, parameter: click.Parameter, level: str) -> None:
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", force=True)
    logging.getLogger().setLevel(level.upper())


def require_optuna() -> None:
    """Check that Optuna is installed; silence its log unless ``--log-level`` is info or debug.

    Raises
    ------
    MissingExtraError
        Optuna is not installed.
    """
    optuna = require("optuna", "search")
    if not logging.getLogger().isEnabledFor(logging.INFO):
        optuna.logging.set_verbosity(optuna.logging.ERROR)


def output_file(given: str | None) -> Path | None:
    """Check and return the path given with ``--output``; return None if it is not given.

    Raises
    ------
    UsageError
        The path is a folder, or its folder does not exist.
    """
    if not given:
        return None
    path = Path(given)
    try:
        if path.is_dir():
            raise UsageError(f"cannot write {path}: it is a folder; --output must be a file")
        if not path.parent.is_dir():
            raise UsageError(f"cannot write {path}: the folder {path.parent} does not exist")
    except (OSError, ValueError) as error:  # a null byte, or a name that is too long
        raise UsageError(f"cannot write {shown(given)}: {error}") from None
    return path


def write_file(path: Path, parts: Iterable[str]) -> None:
    """Write the concatenated parts to a file.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(parts)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {os_reason(error)}") from None


models_option = click.option(
    "-m",
    "--model",
    "models",
    metavar="[ROLE=]NAME",
    shell_complete=completers.models,
    multiple=True,
    help="Use the model NAME for the role ROLE, or for all roles that write text; may be "
    "repeated. NAME is a card, a path, or a string such as hf:OWNER/NAME or openai:NAME.",
)


_set_option = click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    shell_complete=completers.settings,
    multiple=True,
    help="Change a value of the architecture file, such as `draft.samples=16` or "
    "`budget.max_tokens=4000`. VALUE is JSON, or a string; may be repeated.",
)
_temperature_option = click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    metavar="T",
    help="Sample with this temperature in the generators that read the question, and in the output "
    "node if it generates. --set NODE.sampling.temperature=T changes one node.",
)


def changes_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--set`` and ``--temperature``; the command receives them as ``changes``."""

    @functools.wraps(function)
    def with_changes(*, settings: Sequence[str], temperature: float | None, **others: Any) -> Any:
        from archon.spec.changes import Changes, parse_setting

        changes = Changes(tuple(map(parse_setting, settings)), temperature)
        return function(changes=changes, **others)

    return _set_option(_temperature_option(with_changes))


def seed_option(text: str = "Random seed for sampling.") -> Callable[[Any], Any]:
    """Return the ``--seed`` option with this help text."""
    return click.option("--seed", type=int, default=0, show_default=True, metavar="N", help=text)


data_option = click.option(
    "--data",
    metavar="PATH",
    shell_complete=completers.files,
    help="Read the items from this file instead of the benchmark's source. It is CSV, TSV, JSON, "
    "JSON Lines or Parquet.",
)

COLUMN_OPTIONS = (
    click.option("--question", metavar="COLUMN", help="Column of the data with the question."),
    click.option("--target", metavar="COLUMN", help="Column of the data with the right answer."),
    click.option(
        "--choices",
        metavar="COLUMN[,COLUMN...]",
        help="Column of the data with a list of choices, or one column for each choice.",
    ),
    click.option("--id", metavar="COLUMN", help="Column of the data with the items' ids."),
    click.option(
        "--answer",
        type=click.Choice(get_args(AnswerKind)),
        help="Kind of the answers, instead of the benchmark's. That of your own data is detected.",
    ),
)
"""The options that describe the data; ``columns_of`` reads them."""


def columns_of(options: dict[str, Any]) -> Columns:
    """Remove the values of ``COLUMN_OPTIONS`` from the options of a command, and return them."""
    from archon.evals.benchmarks.columns import Columns

    names = ("question", "target", "choices", "id", "answer")
    return Columns(**{name: options.pop(name) for name in names})


scorer_option = click.option(
    "--scorer",
    "--score",
    "scorer",
    metavar="NAME[:PARAMETER]",
    shell_complete=completers.scorers,
    multiple=True,
    help="Use this scorer instead of the benchmark's: a name (see archon ls scorers), a name with "
    "a parameter such as number-close:0.01, a JSON object, or FILE.py:FUNCTION. May be repeated: "
    "the first decides the accuracy, and the report has a mean for each of the others.",
)

code_option = click.option(
    "--allow-code-execution",
    is_flag=True,
    help="Let the scorer 'code' run programs of models in full Python, in a separate process. It "
    "has no network, but is weaker than the sandbox: use it in a container.",
)

no_cache_option = click.option(
    "--no-cache",
    is_flag=True,
    help="Do not reuse stored samples, and do not store new ones.",
)


def _tracker(context: click.Context, parameter: click.Parameter, given: str | None) -> Any:
    from archon.tracking.session import TrackerChoice

    return None if given is None else TrackerChoice.parse(given)


track_option = click.option(
    "--track",
    metavar="TRACKER[:PROJECT]",
    callback=_tracker,
    help="Record the work in an experiment tracker: mlflow, wandb or trackio.",
)


def tracing_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of OpenTelemetry, which take effect before the command runs."""
    with_content = click.option(
        "--trace-content",
        is_flag=True,
        expose_value=False,
        callback=_set_trace_content,
        help="Let OpenTelemetry spans contain prompts and completions.",
    )
    with_otel = click.option(
        "--otel",
        is_flag=True,
        expose_value=False,
        callback=_start_tracing,
        help="Export OpenTelemetry spans as the OTEL_* environment variables say. This is the "
        "default if OTEL_EXPORTER_OTLP_ENDPOINT is set.",
    )
    return with_otel(with_content(function))


def _set_trace_content(context: click.Context, parameter: click.Parameter, given: bool) -> None:
    if given:
        os.environ[CAPTURE_CONTENT] = "true"


def _start_tracing(context: click.Context, parameter: click.Parameter, given: bool) -> None:
    from archon.tracing.setup import start_tracing

    start_tracing(is_requested=given)


def models_by_role(given: Sequence[str]) -> dict[str, Any]:
    """Return the values of ``--model``, each ``ROLE=NAME`` or ``NAME``, as a mapping.

    The model of a value without a role has the key ``ALL_ROLES``.

    Raises
    ------
    UsageError
        A role or a name is empty, or two values have the same role or no role.
    """
    models: dict[str, Any] = {}
    for text in given:
        role, separator, name = text.partition("=")
        if not separator or role.startswith(("http://", "https://")):
            role, name = ALL_ROLES, text
        if not (role and name):
            raise UsageError(f"--model needs ROLE=NAME or NAME, not {text!r}")
        if role in models:
            twice = "two models for all roles" if role == ALL_ROLES else f"the role {role!r} twice"
            raise UsageError(f"--model names {twice}")
        models[role] = name
    return models
