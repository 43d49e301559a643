"""A server that runs ``archon`` commands in forks of one process, which has imported everything.

The commands of the documentation are many and short: most of their time was the start of Python
and the import of torch, scipy and reasoning-gym. A command still has a process of its own, with the
folder, the environment and the streams of its caller.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import archon
import archon.cli

HEAVY = (
    "alembic",
    "optuna.samplers",
    "optuna.storages",
    "reasoning_gym",
    "scipy.stats",
    "sqlalchemy.orm",
    "starlette",
    "torch",
    "uvicorn",
)
SKIPPED = ("archon.__main__", "archon.bench.peers")
"""Modules that run a command when imported, or that need other engines."""
MAX_MESSAGE = 1 << 20
CLIENT = f"""#!{sys.executable} -IS
import json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({{path!r}})
message = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode() + b"\\n"
socket.send_fds(server, [b"streams\\n"], [0, 1, 2])
server.sendall(message)
answers = server.makefile()
child = int(answers.readline())
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: os.kill(child, number))
sys.exit(int(answers.readline()))
"""
"""The program ``archon`` that tests call; ``path`` is the server's socket."""


def serve(path: Path) -> NoReturn:
    """Print a line when ready, and run commands until killed."""
    for module in pkgutil.walk_packages(archon.__path__, "archon."):
        if not module.name.startswith(SKIPPED):
            importlib.import_module(module.name)
    for name in HEAVY:
        importlib.import_module(name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children that have ended leave nothing
        print("ready", flush=True)
        while True:
            client, _ = listener.accept()
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                _attend(client)
            client.close()


def _attend(client: socket.socket) -> NoReturn:
    """Run one client's command in a child, and send its process id and its exit code."""
    _, streams, _, _ = socket.recv_fds(client, len(b"streams\n"), 3)
    arguments, folder, environment = json.loads(client.makefile().readline())
    child = os.fork()
    if not child:
        client.close()
        _run(arguments, folder, environment, streams)
    for stream in streams:
        os.close(stream)
    client.sendall(f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    client.sendall(f"{128 - code if code < 0 else code}\n".encode())
    os._exit(0)


def _run(
    arguments: list[str], folder: str, environment: dict[str, str], streams: list[int]
) -> NoReturn:
    from docs_models import reduced, use_scripted_model

    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["archon", *arguments]
    code = 1
    try:
        use_scripted_model()
        code = archon.cli.main(reduced(arguments))
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
