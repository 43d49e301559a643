"""``archon serve``: serve architectures and models over an OpenAI-compatible API."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from archon.cli import completers
from archon.cli.console import emit
from archon.cli.options import (
    changes_options,
    command,
    models_by_role,
    models_option,
    tracing_options,
)
from archon.cli.weights import close_all, open_all
from archon.errors import UsageError, require

if TYPE_CHECKING:
    from archon.spec.changes import Changes

_at_least_one = click.IntRange(min=1)
_seconds = click.FloatRange(min=0.001, max=1_000_000)


@command
@click.argument(
    "archs",
    nargs=-1,
    required=True,
    metavar="ARCH...",
    shell_complete=completers.names("architecture", "model"),
)
@models_option
@changes_options
@tracing_options
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    metavar="N",
    help="Port to listen on; 0 selects a free port.",
)
@click.option(
    "--api-key-env",
    metavar="NAME",
    help="Environment variable with the API key that clients must send. Required if other machines "
    "can reach --host.",
)
@click.option(
    "--max-body-bytes",
    type=click.IntRange(1, 64 * 1024 * 1024),
    default=4 * 1024 * 1024,
    show_default="4 MiB",
    metavar="N",
    help="Reject requests whose body is larger than N bytes.",
)
@click.option(
    "--max-messages",
    type=_at_least_one,
    default=256,
    show_default=True,
    metavar="N",
    help="Reject requests with more than N messages.",
)
@click.option(
    "--max-inputs",
    type=_at_least_one,
    default=2048,
    show_default=True,
    metavar="N",
    help="Reject requests with more than N prompts, or texts to embed, score or rank.",
)
@click.option(
    "--max-request-tokens",
    type=_at_least_one,
    default=200_000,
    show_default=True,
    metavar="N",
    help="Reject requests that could generate more than N tokens in total across all nodes and "
    "answers.",
)
@click.option(
    "--max-running",
    type=_at_least_one,
    default=64,
    show_default=True,
    metavar="N",
    help="Process at most N requests concurrently.",
)
@click.option(
    "--max-waiting",
    type=click.IntRange(min=0),
    default=256,
    show_default=True,
    metavar="N",
    help="Queue at most N more requests; reject further requests with status 429.",
)
@click.option(
    "--max-seconds",
    type=_seconds,
    default=600,
    show_default=True,
    metavar="N",
    help="Abort a request with an error after N seconds.",
)
@click.option(
    "--drain-seconds",
    type=click.FloatRange(0, 1_000_000),
    default=30,
    show_default=True,
    metavar="N",
    help="After SIGINT or SIGTERM, wait at most N seconds for running requests. A second signal "
    "aborts them.",
)
@click.option(
    "--strict",
    "is_strict",
    is_flag=True,
    help="Reject requests with unsupported fields. By default, unsupported fields are ignored and "
    "listed in the x-archon-ignored response header.",
)
@click.option(
    "--ui/--no-ui",
    "has_page",
    default=True,
    help="Whether to serve a chat page at the address. The page asks for the API key, if any.",
)
def serve(
    archs: Sequence[str],
    models: Sequence[str],
    changes: Changes,
    host: str,
    port: int,
    api_key_env: str | None,
    drain_seconds: float,
    is_strict: bool,
    has_page: bool,
    as_json: bool,
    **limits: Any,
) -> None:
    """Serve architectures over an OpenAI-compatible API.

    ARCH is an architecture, a model card, a GGUF file or a folder of safetensors files. Clients
    select it by its name. Sentence encoders and reward models embed, score and rank texts.
    --model applies to every architecture that has the role. The address is printed when the
    server is ready.
    """
    from archon.graph.loading import Loader

    for package in ("starlette", "uvicorn", "prometheus_client"):
        require(package, "serve")
    from archon.lm.credentials import key_from
    from archon.serve.app import create_app
    from archon.serve.auth import allowed_names, is_loopback
    from archon.serve.limits import Limits
    from archon.serve.served_models import served_models
    from archon.serve.server import run

    api_key = None if api_key_env is None else key_from(api_key_env)
    if api_key is None and not is_loopback(host):
        raise UsageError(
            f"other machines can reach --host {host}, so an API key is required; put it in an "
            f"environment variable, and pass that variable's name with --api-key-env"
        )
    loader = Loader(changes=changes)
    lms = served_models(loader, archs, models_by_role(models))
    open_all(loader.lms)

    def on_ready(address: str) -> None:
        print(f"serving {', '.join(lms)} at {address}/v1", file=sys.stderr, flush=True)
        if has_page:
            print(f"chat page: {address}/", file=sys.stderr, flush=True)
        if as_json:
            emit({"address": address, "models": list(lms)})
            sys.stdout.flush()

    app = create_app(
        lms,
        limits=Limits(**limits),
        is_strict=is_strict,
        api_key=api_key,
        host_names=allowed_names(host, api_key),
        has_page=has_page,
    )
    run(
        app,
        host,
        port,
        on_ready,
        drain_seconds=drain_seconds,
        on_end=lambda: close_all(loader.lms),
    )
