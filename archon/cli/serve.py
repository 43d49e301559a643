"""``archon serve``: architectures behind OpenAI's protocol."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from archon.cli.console import emit
from archon.cli.options import command, models_by_role, models_option
from archon.errors import UsageError


@command
@click.argument("archs", nargs=-1, required=True, metavar="ARCH...")
@models_option
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
def serve(archs: Sequence[str], models: Sequence[str], host: str, port: int, as_json: bool) -> None:
    """Serve architectures as models of their names; --port 0 takes a free port.

    --model changes the role wherever an architecture has it. The address is printed when the
    server is ready.
    """
    from archon import api
    from archon.cli.weights import open_all
    from archon.errors import require

    require("starlette", "serve")
    require("uvicorn", "serve")
    from archon.serve.app import create_app
    from archon.serve.server import run

    loader = api.Loader()
    lms = {}
    for architecture in loader.architectures(archs, models_by_role(models)):
        if architecture.name in lms:
            raise UsageError(f"two architectures have the name {architecture.name!r}")
        lms[architecture.name] = api.lm(architecture)
    open_all(loader.lms)

    def on_ready(address: str) -> None:
        print(f"serving {', '.join(lms)} at {address}/v1", file=sys.stderr, flush=True)
        if as_json:
            emit({"address": address, "models": list(lms)})
            sys.stdout.flush()

    run(create_app(lms), host, port, on_ready)
