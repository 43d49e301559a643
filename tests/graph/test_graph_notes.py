"""Notes on answers without a real choice: in Python, on the command line, in runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import archon
from archon.cli.main import main
from archon.evals.run import read_run
from archon.graph.notes import advice
from archon.lm.scripted.lm import ScriptedLM
from archon.types import Request

NOTE = "no candidate states a number; returning the first"
ADVICE = advice(None, "number")
"""The note on a single answer that lacks a number; records of evaluations do not have it."""


def silent(request: Request, draw: int) -> str:
    return "I do not know."


def wrong(request: Request, draw: int) -> str:
    return "2 + 3 = 6. The answer is 6."


def answered(nodes: dict[str, Any], output: str, script: Any = silent) -> archon.Answer:
    data = {"version": 1, "name": "x", "models": {"s": "scripted"}, "nodes": nodes}
    return archon.load({**data, "output": output}, models={"s": ScriptedLM(script)}).run("2 + 3?")


DRAFT = {"type": "generator", "model": "s", "samples": 3}


@pytest.mark.parametrize(
    "more",
    [{}, {"stop_when": {"confidence": 0.95, "round": 2}}, {"stop_when": {"confidence": 1}}],
)
@pytest.mark.parametrize("weight", ["count", "likelihood"])
def test_a_vote_without_a_value_is_noted(more: dict[str, Any], weight: str) -> None:
    vote = {"type": "vote", "inputs": ["draft"], "weight": weight}
    answer = answered({"draft": {**DRAFT, **more}, "vote": vote}, "vote")
    assert answer.notes == (NOTE, ADVICE)
    assert answer.value is None
    assert answer.text == "I do not know."
    trace = json.dumps(answer.trace.to_json())
    assert NOTE in trace
    assert NOTE in answer._repr_html_()


def test_an_answer_with_a_value_has_no_notes() -> None:
    vote = {"type": "vote", "inputs": ["draft"]}
    assert answered({"draft": DRAFT, "vote": vote}, "vote", wrong).notes == ()


def test_a_verifier_that_passes_nothing_is_noted() -> None:
    check = {"type": "verifier", "method": "equations", "inputs": ["draft"]}
    for script, more in ((silent, [ADVICE]), (wrong, [])):
        notes = answered({"draft": DRAFT, "check": check}, "check", script).notes
        assert notes == ("no candidate passes the verifier; all are kept", *more)


def test_a_ranker_without_a_value_is_noted() -> None:
    best = {"type": "ranker", "method": "likelihood", "inputs": ["draft"], "model": "s"}
    notes = answered({"draft": DRAFT, "best": best}, "best").notes
    assert notes == ("no candidate states a number; ranked by score alone", ADVICE)


@pytest.fixture
def card(tmp_path: Path) -> Iterator[str]:
    """The card of a server whose model never states a number."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            message = {"role": "assistant", "content": "I do not know."}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
            body = json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": "m",
                               "choices": [choice], "usage": usage}).encode()  # fmt: skip
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    path = tmp_path / "card.json"
    url = f"http://127.0.0.1:{server.server_port}/v1"
    card = {"name": "silent", "backend": "openai", "base_urls": [url], "model": "m"}
    path.write_text(json.dumps(card), encoding="utf-8")
    yield f"solver={path}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_command_line_prints_the_note(capsys: pytest.CaptureFixture[str], card: str) -> None:
    assert main(["run", "self-consistency", "2 + 3?", "--model", card]) == 0
    out, err = capsys.readouterr()
    assert out == "I do not know.\n"
    assert NOTE in err
    assert main(["run", "self-consistency", "2 + 3?", "--model", card, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [NOTE, ADVICE]
    assert main(["run", "self-consistency", "2 + 3?", "--model", card, "--trace"]) == 0
    assert NOTE in capsys.readouterr().err


def test_records_keep_the_note(tmp_path: Path, card: str) -> None:
    data = tmp_path / "rows.jsonl"
    rows = [{"question": f"What is {n} + 1?", "answer": f"{n + 1}"} for n in range(5)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    folder = str(tmp_path / "run")
    command = ["eval", "self-consistency", "gsm8k", "--data", str(data), "--model", card]
    assert main([*command, "--output", folder, "--limit", "1", "--json"]) == 0
    (record,) = read_run(Path(folder)).records()
    assert record.notes == (NOTE,)
