"""``archon cache``."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from archon.cli import main
from archon.lm.lazy import LazyLM
from archon.lm.pool import DrawPool, pooling
from archon.spec.model import ScriptedCard
from archon.types import Message, Request

KEPT = {
    "packed/abc-int8.safetensors": 5000,
    "kernels/kernels-0.so": 300,
    "peers/a.gguf": 70,
    "models/tiny/tiny.gguf": 11,
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("ARCHON_CACHE", str(folder))
    monkeypatch.delenv("ARCHON_POOL")
    monkeypatch.setenv("ARCHON_POOL_BYTES", "1000000")
    for name, size in KEPT.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    return folder


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Run a command that must succeed; return its JSON object."""
    capsys.readouterr()
    assert main(["cache", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def draw(pool: DrawPool, n: int) -> None:
    lm = LazyLM(ScriptedCard(name="double", backend="scripted"), Path())

    async def ask() -> None:
        with pooling(pool, "run/1/0"):
            await lm.generate(Request((Message("user", "What is 2 + 3?"),), n=n))

    asyncio.run(ask())


def test_ls_lists_each_part(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with DrawPool() as pool:
        draw(pool, 4)
    contents = answer(capsys, "ls")
    draws = contents["parts"].pop("draws")
    assert (draws["draws"], draws["max_bytes"], draws["readable"]) == (4, 1_000_000, True)
    assert [(row["model"], row["draws"]) for row in draws["models"]] == [("double", 4)]
    assert draws["bytes"] == (cache / "draws.sqlite3").stat().st_size
    sizes = {name: part["bytes"] for name, part in contents["parts"].items()}
    assert sizes == {"packed": 5000, "kernels": 300, "peers": 70, "models": 11}
    assert contents["bytes"] == draws["bytes"] + sum(sizes.values())
    assert contents["path"] == str(cache)


def test_ls_prints_its_table_on_standard_output(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache", "ls"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    for part in ("0 samples, up to 1.0 MB", "5.0 kB", "archon models"):
        assert part in printed.out
    assert not (cache / "draws.sqlite3").exists()


def test_clear_frees_only_the_samples_even_while_they_are_in_use(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with DrawPool() as pool:
        draw(pool, 2000)
        freed = answer(capsys, "clear")
        assert freed["freed_bytes"] == freed["parts"]["draws"] > 50_000
        draw(pool, 3)
    assert answer(capsys, "ls")["parts"]["draws"]["draws"] == 3
    assert all((cache / name).exists() for name in KEPT)


def test_clear_frees_the_named_parts(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "clear", "packed", "kernels", "packed") == {
        "freed_bytes": 5300,
        "parts": {"packed": 5000, "kernels": 300},
    }
    left = [name for name in KEPT if (cache / name).exists()]
    assert left == ["peers/a.gguf", "models/tiny/tiny.gguf"]


def test_all_keeps_the_weights_of_models_and_unfinished_files(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    growing, left = cache / "packed/new.safetensors.17", cache / "packed/old.safetensors.16"
    growing.write_bytes(b"x" * 9)
    left.write_bytes(b"x" * 8)
    os.utime(left, (0, 0))
    assert answer(capsys, "clear", "all")["freed_bytes"] == 5000 + 300 + 70 + 8
    files = {str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file()}
    assert files == {"models/tiny/tiny.gguf", "packed/new.safetensors.17"}


def test_clear_prints_the_freed_size(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "clear", "packed"]) == 0
    assert capsys.readouterr().out.strip() == "packed: freed 5.0 kB"


@pytest.mark.parametrize("arguments", [["clear", "models"], ["ls", "draws"], ["rm"]])
def test_bad_input_has_exit_code_2(
    cache: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache", *arguments]) == 2
    assert (cache / "models/tiny/tiny.gguf").exists()


def test_an_invalid_bound_has_exit_code_2(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARCHON_POOL_BYTES", "much")
    assert main(["cache", "ls"]) == 2
    assert "ARCHON_POOL_BYTES" in capsys.readouterr().err


def test_a_damaged_pool_is_reported_and_cleared(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cache / "draws.sqlite3").write_bytes(b"damaged" * 1000)
    assert main(["cache", "ls"]) == 0
    assert "damaged" in capsys.readouterr().out
    assert answer(capsys, "clear")["freed_bytes"] == 7000


def test_cache_commands_do_not_import_torch(cache: Path) -> None:
    code = (
        "import sys; from archon.cli import main; main(['cache', 'ls']); main(['cache', 'clear']); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
