import signal
import socket
import subprocess
import sys

import httpx
import pytest

from archon.errors import UsageError
from archon.lm import ScriptedLM
from archon.lm.scripted import in_turn
from archon.serve.app import create_app
from archon.serve.server import run

CODE = """
from archon.lm import ScriptedLM
from archon.lm.scripted import in_turn
from archon.serve.app import create_app
from archon.serve.server import run

run(create_app({"double": ScriptedLM(in_turn(["a"]))}), port=0)
"""


def test_a_server_says_where_it_is_and_ends_on_a_signal() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CODE], stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stderr is not None
            line = server.stderr.readline().strip()
            assert line.startswith("Serving at http://127.0.0.1:")
            address = line.removeprefix("Serving at ")
            with httpx.Client(trust_env=False) as http:
                reply = http.get(f"{address}/models")
            assert reply.json()["data"][0]["id"] == "double"
            server.send_signal(signal.SIGTERM)
            server.wait(10)
            assert "Traceback" not in server.stderr.read()
        finally:
            server.kill()


def test_a_port_in_use_is_a_clear_error() -> None:
    app = create_app({"double": ScriptedLM(in_turn(["a"]))})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1, port {port}"):
            run(app, port=port)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 99_999), ("nowhere.invalid", 0)])
def test_an_address_that_is_none_is_a_clear_error(host: str, port: int) -> None:
    with pytest.raises(UsageError, match=r"cannot listen|a port is"):
        run(create_app({}), host=host, port=port)
