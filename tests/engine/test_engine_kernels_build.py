"""Compilation of the kernels: the cache, and the fallback to torch."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from engine_doubles import CPU, native_kernels, tiny_config

from archon.engine.kernels import build
from archon.engine.kernels.build import load_kernels
from archon.engine.loading import load_decoder
from archon.engine.model.decoder import Decoder
from archon.engine.model.weights import RandomWeights


@pytest.fixture
def capable_cpu() -> None:
    native_kernels()


def test_the_compiled_library_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = Path(native_kernels()._name)
    targets: list[Path] = []

    def compile_by_copying(compiler: str, options: object, here: Path, target: Path) -> bool:
        targets.append(target)
        shutil.copy(compiled, target)
        return True

    monkeypatch.setattr(build, "_compile", compile_by_copying)
    assert load_kernels(tmp_path) is not None
    assert targets == list(tmp_path.iterdir())
    build._load.cache_clear()
    assert load_kernels(tmp_path) is not None
    assert len(targets) == 1


@pytest.mark.usefixtures("capable_cpu")
@pytest.mark.parametrize("compiler", ["false", "/no/such/compiler"])
def test_without_a_working_compiler_torch_computes_and_the_log_says_why(
    compiler: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("CXX", compiler)
    with caplog.at_level(logging.WARNING):
        source = RandomWeights(tiny_config(head_width=16))
        assert isinstance(load_decoder(source, "int8", CPU, keep_in=tmp_path), Decoder)
    assert "could not be compiled" in caplog.text
    assert not any((tmp_path / "kernels").iterdir())


def test_a_cpu_without_the_instructions_gets_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_cpu_flags", lambda: frozenset({"avx", "fma"}))
    monkeypatch.setattr(build, "_load", lambda *_: pytest.fail("compiled"))
    assert load_kernels() is None


def test_the_widest_vectors_of_the_cpu_are_used() -> None:
    avx2, avx512 = frozenset(build._AVX2), frozenset(build._AVX512)
    assert build._instruction_sets(avx2 | {"sse4_2"}) == build._AVX2
    assert build._instruction_sets(avx2 | avx512) == build._AVX512
    assert build._instruction_sets(avx2 | avx512 | {"avx512_bf16"})[-1] == "avx512_bf16"
    assert build._instruction_sets(avx2 | avx512 - {"avx512_vnni"}) == build._AVX2
    arm = frozenset({"fp", "asimd", "asimddp", "i8mm"})
    assert build._flags_of(build._instruction_sets(arm)) == ("-march=armv8.2-a+dotprod+i8mm",)
    assert build._flags_of(build._instruction_sets(frozenset({"asimd"}))) == ("-march=armv8-a",)
