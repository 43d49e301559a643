"""The process that renders templates starts on every platform, and is replaced after its end."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from archon.errors import ModelError
from archon.lm.local import template, template_worker
from archon.lm.local.template import TemplateError, TemplateLimitError
from archon.warn_once import warn_once

WORKER = template_worker.__file__
PLATFORMS = {
    "macOS": (
        "import resource\n"
        "def setrlimit(which, limits): raise ValueError('current limit exceeds maximum limit')\n"
        "resource.setrlimit = setrlimit\n",
        ["memory"],
    ),
    "a system that forbids limits": (
        "import resource\n"
        "def setrlimit(which, limits): raise PermissionError(1, 'not permitted')\n"
        "resource.setrlimit = setrlimit\n",
        ["memory"],
    ),
    "a system without that limit": ("import resource\ndel resource.RLIMIT_AS\n", ["memory"]),
    "Windows": (
        "import os, signal, sys\n"
        "sys.modules['resource'] = None\n"
        "del os.fork, signal.setitimer, signal.ITIMER_PROF\n",
        ["memory", "processor time"],
    ),
    "Linux": ("", []),
}
"""What a platform lacks, as a program that takes it away; the limits that are missing then."""


@pytest.fixture
def renderer() -> Iterator[template._Renderer]:
    warn_once.cache_clear()
    renderer = template._Renderer()
    yield renderer
    renderer.close()
    warn_once.cache_clear()


@pytest.fixture
def platform(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """A worker on another platform; the limits that it lacks."""
    taken_away, missing = PLATFORMS[request.param]
    start_worker_with(taken_away, tmp_path, monkeypatch)
    return missing


def start_worker_with(before: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = folder / "worker.py"
    run = f"import runpy\nrunpy.run_path({WORKER!r}, run_name='__main__')\n"
    script.write_text(before + run)
    monkeypatch.setattr(template_worker, "__file__", str(script))


def rendered(renderer: template._Renderer, source: str, **values: object) -> str:
    [text] = renderer.ask({"template": source, "values": [values]})["texts"]
    return str(text)


# --------------------------------------------------------------------------------- platforms


@pytest.mark.parametrize("platform", PLATFORMS, indirect=True)
def test_templates_are_rendered_and_missing_limits_are_reported_once(
    platform: list[str], renderer: template._Renderer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "archon"):
        for _ in range(2):
            assert rendered(renderer, "{{ x + 1 }}", x=1) == "2"
            renderer.close()
    assert [record.getMessage() for record in caplog.records] == [
        f"chat templates are rendered without a limit on {limit}, "
        "because this platform does not support one"
        for limit in platform
    ]


@pytest.mark.parametrize("platform", ["macOS", "Windows"], indirect=True)
def test_an_endless_template_is_ended_on_every_platform(
    platform: list[str], renderer: template._Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template, "MAX_WALL_SECONDS", 0.2)
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(TemplateLimitError, match="rendering takes more than"):
        rendered(renderer, endless)
    assert rendered(renderer, "{{ 1 + 1 }}") == "2"


def test_a_stricter_existing_limit_is_kept(
    renderer: template._Renderer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bound = template_worker.MAX_MEMORY_BYTES // 2
    limit = f"import resource\nresource.setrlimit(resource.RLIMIT_AS, ({bound}, {bound}))\n"
    start_worker_with(limit, tmp_path, monkeypatch)
    assert rendered(renderer, "{{ 1 + 1 }}") == "2"
    assert not caplog.records
    assert renderer._worker is not None
    pid = renderer._worker._process.pid
    assert resource.prlimit(pid, resource.RLIMIT_AS) == (bound, bound)


def test_the_worker_s_memory_is_limited_if_the_platform_allows(
    renderer: template._Renderer,
) -> None:
    rendered(renderer, "")
    assert renderer._worker is not None
    pid, bound = renderer._worker._process.pid, template_worker.MAX_MEMORY_BYTES
    assert resource.prlimit(pid, resource.RLIMIT_AS) == (bound, bound)


def test_the_worker_needs_nothing_but_the_folders_it_is_given() -> None:
    """Neither PYTHONPATH nor the user's own packages, where the libraries may lie."""
    command = [sys.executable, "-I", "-S", WORKER, *template._library_folders()]
    request = json.dumps({"template": "{{ 1 + 1 }}", "values": [{}]})
    result = subprocess.run(command, input=request + "\n", capture_output=True, text=True)
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"missing": []}, {"texts": ["2"]},
    ]  # fmt: skip


@pytest.mark.parametrize("program", ["import no_such_library\n", "raise SystemExit(3)\n"])
def test_a_worker_that_does_not_start_is_an_error_with_the_reason(
    program: str,
    renderer: template._Renderer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start_worker_with(program, tmp_path, monkeypatch)
    reason = (
        "No module named 'no_such_library'"
        if "import" in program
        else "the process exited without an error message"
    )
    with pytest.raises(ModelError, match=f"chat templates did not start: .*{reason}"):
        rendered(renderer, "x")


def test_a_missing_interpreter_is_reported(
    renderer: template._Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(ModelError, match=r"did not start: .*No such file"):
        rendered(renderer, "x")


# ---------------------------------------------------------------------- processes that are gone


@pytest.mark.parametrize("waits", [True, False])
def test_a_worker_that_was_killed_is_replaced(waits: bool, renderer: template._Renderer) -> None:
    for number in range(3):
        assert rendered(renderer, "{{ n }}", n=number) == str(number)
        assert renderer._worker is not None
        process = renderer._worker._process
        os.kill(process.pid, signal.SIGKILL)
        if waits:
            process.wait()
    assert rendered(renderer, "{{ 1 + 1 }}") == "2"


def test_a_template_that_kills_its_worker_is_retried_once(
    renderer: template._Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = tmp_path / "starts"
    dies = (
        f"open({str(starts)!r}, 'a').write('x')\nimport json, os\nreal = json.loads\n"
        "json.loads = lambda line: os._exit(1) if b'die' in line else real(line)\n"
    )
    start_worker_with(dies, tmp_path, monkeypatch)
    rendered(renderer, "x")
    with pytest.raises(TemplateLimitError, match="the process that renders the template ended"):
        rendered(renderer, "die")
    assert starts.read_text() == "xx"
    assert rendered(renderer, "y") == "y"


def test_a_template_that_timed_out_is_not_retried(
    renderer: template._Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered(renderer, "x")
    answers = list[int]()
    answer = renderer._answer
    monkeypatch.setattr(renderer, "_answer", lambda line: answers.append(1) or answer(line))
    with pytest.raises(TemplateLimitError, match="more than 2 seconds"):
        rendered(renderer, "{{ 9 ** (9 ** 9) }}")
    assert len(answers) == 1


def test_a_large_prompt_passes_through_the_pipes(renderer: template._Renderer) -> None:
    content = "é" * 500_000
    assert rendered(renderer, "{{ a }}{{ a }}", a=content) == content * 2


# ----------------------------------------------------------------------------------- forking


def child_s_exit_code(render: object) -> int:
    assert callable(render)
    with warnings.catch_warnings(action="ignore"):  # the child touches no other thread's work
        pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if render() == "child" else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_forked_process_starts_its_own_worker() -> None:
    shared = template._RENDERER
    rendered(shared, "{{ x }}", x="parent")
    assert shared._worker is not None
    pid = shared._worker._process.pid
    assert child_s_exit_code(lambda: rendered(shared, "{{ x }}", x="child")) == 0
    assert rendered(shared, "{{ x }}", x="parent") == "parent"
    assert shared._worker._process.pid == pid
    assert shared._worker.is_usable


def test_a_process_forked_while_another_thread_renders_does_not_block() -> None:
    shared = template._RENDERER
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with shared._lock:
            holding.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait()
    try:
        assert child_s_exit_code(lambda: rendered(shared, "{{ x }}", x="child")) == 0
    finally:
        done.set()
        thread.join()


def test_a_worker_ends_with_its_parent() -> None:
    program = (
        "from archon.lm.local import template\n"
        "import os\n"
        "template.ChatTemplate('x').render_all([{}])\n"
        "print(template._RENDERER._worker._process.pid, flush=True)\n"
        "os._exit(0)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    pid = int(result.stdout)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}/stat").exists() and time.monotonic() < deadline:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            break
        time.sleep(0.01)
    else:
        assert not Path(f"/proc/{pid}").exists()


# ------------------------------------------------------------------------------ the protocol


def test_of_several_sets_only_the_first_must_succeed(renderer: template._Renderer) -> None:
    source = "{{ raise_exception('no') if x > 1 else x }}"
    values = [{"x": 1}, {"x": 2}, {"x": 0}]
    assert renderer.ask({"template": source, "values": values})["texts"] == ["1", None, "0"]
    with pytest.raises(TemplateError, match=r"^no$"):
        renderer.ask({"template": source, "values": values[1:]})


def test_several_sets_see_the_same_time(renderer: template._Renderer) -> None:
    source = "{% for i in range(3000) %}{% endfor %}{{ strftime_now('%H:%M:%S.%f') }}"
    first, second = renderer.ask({"template": source, "values": [{}, {}]})["texts"]
    assert first == second


def test_the_strings_that_a_template_searches_for_are_found(renderer: template._Renderer) -> None:
    source = (
        "{% set end = 'a' %}{{ 'b' }}{{ x.split('c', 1) }}{{ 'd' in x }}{{ x == 'e' }}"
        "{{ x | replace('f', '') }}{{ x is eq('g') }}{{ 'h' ~ x }} i "
    )
    found = renderer.ask({"template": source})
    literals = ["a", "c", "d", "e", "f", "g"]
    assert found == {"literals": literals, "sought": ["c", "d"], "variables": ["x"]}
