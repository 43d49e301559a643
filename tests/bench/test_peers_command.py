"""``archon bench peers``: the JSON, the picture, bad input, an interrupt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from command_lines import with_options

from archon.bench import roofline
from archon.bench.peers import peer_comparison
from archon.bench.peers.picture import draw
from archon.bench.roofline import Machine, Roofline
from archon.cli import main

MODEL = ["--model", "./tiny.json"]
SMALL = [
    "--num-prompts", "2", "--samples-per-prompt", "2", "--prompt-tokens", "12",
    "--shared-prefix-tokens", "8", "--new-tokens", "4", "--pairs", "1", "--threads", "1",
]  # fmt: skip
Bench = Callable[..., int]


@pytest.fixture
def bench(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_chat_file: Path,
    doubles: None,
) -> Bench:
    """The command on a tiny model, in an empty folder, with a fixed machine."""
    monkeypatch.chdir(tmp_path)
    card = {"name": "tiny", "backend": "local", "sources": [{"path": str(tiny_chat_file)}]}
    Path("tiny.json").write_text(json.dumps({**card, "precision": "float32"}))
    monkeypatch.setattr(
        peer_comparison, "measure_roofline", lambda c, p, n: Roofline(c, p, Machine(1e9, 1e5, 1e5))
    )
    return lambda *arguments: main(["bench", "peers", *with_options(MODEL, arguments)])


def test_both_workloads_of_archon_and_a_peer(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ["--workload", "graph", "--workload", "single", "--peers", "archon,fake", "--json"]
    assert bench(*SMALL, *both, "--output", "r.json", "--picture", "r.svg") == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result == json.loads(Path("r.json").read_text())
    assert (result["model"], result["pairs"], result["interrupted"]) == ("tiny", 1, False)
    assert {"cpu", "cores", "date"} <= result["machine"].keys()
    graph, single = result["workloads"]
    archon, fake = graph["contenders"]
    assert archon["settings"] == {"precision": "float32"}
    assert archon["rounds"][0]["completion_tokens"] == 16
    assert archon["share_of_roofline"] > 0
    assert fake["completion_tokens_per_second"] == 10
    assert [(r["archon"], r["peer"]) for r in graph["ratios"]] == [("archon", "fake")]
    assert (single["num_prompts"], single["decode_only"]) == (1, True)
    assert single["contenders"][0]["rounds"][0]["completion_tokens"] == 3
    assert "timed on 1 of 2 prompts and scaled up" in err
    assert "% of the roofline" in err
    assert "fake" in Path("r.svg").read_text()


def test_a_stored_result_is_drawn_without_a_measurement(bench: Bench) -> None:
    assert bench(*SMALL, "--peers", "fake", "--output", "r.json", "--picture", "a.svg") == 0
    assert main(["bench", "peers", "--from", "r.json", "--picture", "b.svg"]) == 0
    assert Path("a.svg").read_text() == Path("b.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--peers", "archon,llama.cp"], "unknown contender 'llama.cp'"),
        (["--peers", "fake,fake"], "appears twice"),
        (["--workload", "tree"], "--workload"),
        (["--pairs", "0"], "--pairs"),
        (["--peer-fraction", "0"], "--peer-fraction"),
        (["--shared-prefix-tokens", "13"], "--shared-prefix-tokens"),
        (["--prompt-tokens", "5000"], "do not fit in the model's context"),
        (["--picture", "no/such/folder.svg"], "does not exist; create it"),
        (["--from", "tiny.json", "--picture", "a.svg"], "not a file written by archon bench peers"),
        (["--from", "tiny.json"], "--from needs --picture"),
        (["--model", "scripted"], "choose a local model"),
    ],
)
def test_bad_input_has_exit_code_2_and_a_reason(
    bench: Bench, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert bench(*with_options([*SMALL, "--peers", "fake"], arguments)) == 2
    out, err = capsys.readouterr()
    assert reason in " ".join(err.split())
    assert out == ""


def test_a_comparison_without_any_result_is_a_failure(bench: Bench) -> None:
    assert bench(*SMALL, "--peers", "refusing") == 1


def test_an_interrupt_of_the_roofline_keeps_the_rounds(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(peer_comparison, "measure_roofline", stop)
    assert bench(*SMALL, "--peers", "archon", "--json") == 130
    (workload,) = json.loads(capsys.readouterr().out)["workloads"]
    assert workload["contenders"][0]["completion_tokens_per_second"] > 0
    assert workload["rooflines"] == []


def test_an_interrupt_prints_the_finished_rounds(bench: Bench) -> None:
    script = (
        "import sys\nfrom archon.cli import main\n"
        "from archon.bench.peers.contender import CONTENDERS, ContenderKind\n"
        "CONTENDERS['fake'] = ContenderKind('peers_doubles:Fake')\n"
        "CONTENDERS['slow'] = ContenderKind('peers_doubles:Slow')\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "bench", "peers", "--model", "./tiny.json", *SMALL]
    with subprocess.Popen(
        [*command, "--peers", "fake,slow", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        while "loading slow" not in (line := process.stderr.readline()):
            assert line, "it ended before the second contender"
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    result = json.loads(out)
    assert result["interrupted"]
    fake, slow = result["workloads"][0]["contenders"]
    assert (len(fake["rounds"]), len(slow["rounds"])) == (1, 0)


def test_bench_engine_reports_the_share_of_the_roofline(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The array of the command takes 1 GiB.
    monkeypatch.setattr(roofline, "read_bandwidth", partial(roofline.read_bandwidth, 1 << 24))
    sizes = SMALL[: SMALL.index("--pairs")]
    engine = ["bench", "engine", "--model", "./tiny.json", "--json", *sizes]
    assert main(engine) == 0
    figures = json.loads(capsys.readouterr().out)
    if figures["device"] == "cpu":
        assert figures["decode_share_of_roofline"] > 0
        bound = figures["roofline"]["completion_tokens_per_second"]
        rate = figures["completion_tokens_per_second"]
        assert figures["share_of_roofline"] == pytest.approx(rate / bound)
    assert (
        main(["bench", "engine", "--model", "./tiny.json", "--no-roofline", "--json", *sizes]) == 0
    )
    assert "share_of_roofline" not in json.loads(capsys.readouterr().out)


def test_the_length_of_a_bar_is_proportional_to_the_speed() -> None:
    tree = ElementTree.fromstring(draw(a_result()))
    space = "{http://www.w3.org/2000/svg}"
    bars = [r for r in tree.iter(f"{space}rect") if r.get("class") in ("ours", "peer")]
    assert [bar.get("class") for bar in bars] == ["ours", "peer"]
    assert float(bars[0].get("width", 0)) == pytest.approx(4 * float(bars[1].get("width", 0)), 0.01)
    texts = [text.text or "" for text in tree.iter(f"{space}text")]
    assert "tiny & small: completion tokens per second" in texts
    assert any("Some <CPU>, 2 cores, 2026-11-24" in text for text in texts)
    assert any("100" in text and "archon 4.0 ×" in text for text in texts)
    assert "broken" not in texts


def a_result() -> dict[str, Any]:
    """Return a stored result in which one contender has no figure."""
    rates = {"archon": 400.0, "fake": 100.0, "broken": None}
    contenders = [
        {"name": name, "completion_tokens_per_second": rate, "settings": None, "failure": None}
        for name, rate in rates.items()
    ]
    workload = {
        "workload": "graph",
        "num_prompts": 4,
        "samples_per_prompt": 2,
        "prompt_tokens": 12,
        "shared_prefix_tokens": 8,
        "new_tokens": 6,
        "contenders": contenders,
        "ratios": [{"archon": "archon", "peer": "fake", "ratio": 4.0}],
    }
    machine = {"cpu": "Some <CPU>", "cores": 2, "date": "2026-11-24"}
    return {"model": "tiny & small", "machine": machine, "pairs": 3, "workloads": [workload]}
