import asyncio
import contextlib
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from archon.errors import UsageError
from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.serve import server
from archon.serve.app import create_app
from archon.serve.server import _listen, run

CODE = """
from archon.lm.scripted.lm import ScriptedLM
from archon.lm.scripted.lm import in_turn
from archon.serve.app import create_app
from archon.serve.server import run

run(create_app({"double": ScriptedLM(in_turn(["a"]))}), port=0)
"""


def test_a_server_prints_its_address_and_stops_on_a_signal() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CODE], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline().strip()
            assert line.startswith("Serving at http://127.0.0.1:")
            address = line.removeprefix("Serving at ")
            with httpx.Client(trust_env=False) as http:
                reply = http.get(f"{address}/models")
            assert reply.json()["data"][0]["id"] == "double"
            process.send_signal(signal.SIGTERM)
            process.wait(10)
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def test_a_port_in_use_is_a_clear_error() -> None:
    app = create_app({"double": ScriptedLM(in_turn(["a"]))})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1, port {port}"):
            run(app, port=port)


def test_two_servers_that_start_together_do_not_share_a_port() -> None:
    with _listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1, port {port}"):
            _listen("127.0.0.1", port)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system lacks it")
async def test_the_connection_of_a_client_that_does_not_read_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "STALL_SECONDS", 1)
    listener, is_gone = _listen("127.0.0.1", 0), asyncio.Event()

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                writer.write(bytes(2**20))
                await writer.drain()
        is_gone.set()

    async with await asyncio.start_server(pour, sock=listener):
        with socket.create_connection(listener.getsockname()):
            async with asyncio.timeout(30):
                await is_gone.wait()


@pytest.mark.parametrize(
    ("host", "port"),
    [("127.0.0.1", 99_999), ("nowhere.invalid", 0), ("a..b", 0), ("a" * 70, 0)],
)
def test_an_invalid_address_is_a_clear_error(host: str, port: int) -> None:
    with pytest.raises(UsageError, match=r"cannot listen|the port must be"):
        run(create_app({}), host=host, port=port)
