"""Fixtures for every folder of tests.

That this file is here puts its folder on the import path, so that ``tiny_models`` can be imported
by the tests of the engine, of the local model and of the contracts.
"""

from __future__ import annotations

import functools
import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import hypothesis
import pytest
from process_memory import free_memory, return_large_blocks

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("archon", deadline=None)
hypothesis.settings.load_profile("archon")

return_large_blocks()
gc.disable()  # until all tests are collected

# The output under test must not depend on the terminal or the CI that runs the tests: rich reads
# these variables.
os.environ["TERM"] = "xterm-256color"
for name in (
    "COLORTERM",
    "COLUMNS",
    "FORCE_COLOR",
    "JUPYTER_COLUMNS",
    "JUPYTER_LINES",
    "LINES",
    "NO_COLOR",
    "TTY_COMPATIBLE",
    "TTY_INTERACTIVE",
):
    os.environ.pop(name, None)

# Hundreds of tests start a command, which would compile all its modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it puts behind the scenes deaf to Ctrl-C, and so the commands under test.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with files that use real weights, which take longest.

    The comparison in float32 is first of all: it needs 2.7 GB, also in a process without others.
    """
    real = {item.path for item in items if item.get_closest_marker("real")}
    items.sort(key=lambda item: (item.path not in real, item.path.name != "test_engine_real.py"))


def pytest_collection_finish() -> None:
    """Exempt modules and collected tests from garbage collection.

    They are a million objects that live to the end. Every complete collection, and there is one
    after each file, would take half a second to visit them.
    """
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def memory_is_freed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Release what the module's cached functions keep, and what the allocator keeps of that."""
    yield
    for value in vars(request.module).values():
        is_cached = isinstance(value, functools._lru_cache_wrapper)
        if is_cached and value.__module__ == request.module.__name__:
            value.cache_clear()
    free_memory()


@pytest.fixture(scope="session", autouse=True)
def kernels_are_compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoders without a folder of their own share the compiled kernels with all workers."""
    loading = sys.modules.get("archon.engine.loading")
    if loading is None:
        yield
        return
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kernels"
    load = loading.load_kernels
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "load_kernels", lambda folder=None: load(folder or shared))
        yield


@pytest.fixture(autouse=True)
def process_is_reset(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Keep what a test does to its process from the next.

    It is one fixture, since each would cost fifteen thousand tests half a millisecond.

    - No test finds the draws of another, nor of the user.
    - A command sets the root logger's level, which decides whether a display moves.
    - Tiny models gain nothing by threads, and where cores are busy threads wait for each other.
    """
    monkeypatch.setenv("ARCHON_POOL", str(tmp_path_factory.getbasetemp() / "pools" / uuid4().hex))
    root = logging.getLogger()
    level = root.level
    torch = sys.modules.get("torch")  # most tests do without it
    if torch is None:
        num_threads = 1
    else:
        num_threads = torch.get_num_threads()
        torch.set_num_threads(1)
    yield
    if torch is not None:
        torch.set_num_threads(num_threads)
    root.setLevel(level)
    for handler in list(root.handlers):
        if type(handler) is logging.StreamHandler:  # pytest's own handlers are of subclasses
            root.removeHandler(handler)


@pytest.fixture(scope="session")
def tiny_chat_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF file of a random chat model that writes printable ASCII."""
    from tiny_models import TinyModel, write_gguf

    path = tmp_path_factory.mktemp("tiny") / "chat.gguf"
    write_gguf(path, TinyModel(family="qwen2"))
    return path
