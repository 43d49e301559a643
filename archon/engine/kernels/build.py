"""Compile the kernels on first use, and cache them on disk."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

logger = logging.getLogger("archon.engine")

_UNITS = ("step.cpp", "sample.cpp")
_HEADERS = (
    "simd.h", "simd_avx512.h", "simd_avx2.h", "simd_neon.h", "rows.h", "int8.h", "int4.h",
    "blocks.h", "product.h", "attention.h",
)  # fmt: skip
_AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "fma", "f16c")
_AVX512_IF_PRESENT = ("avx512_bf16",)
_AVX2 = ("avx2", "fma", "f16c")
_ARM = ("asimd",)
_ARM_IF_PRESENT = {"asimddp": "dotprod", "i8mm": "i8mm"}
"""Linux's name of an instruction set of ARM → the compiler's."""
_FLAGS = ("-O3", "-std=c++17", "-ffp-contract=off", "-fopenmp", "-shared", "-fPIC", "-mtune=native")


def load_kernels(folder: Path | None = None) -> ctypes.CDLL | None:
    """Return the compiled kernels, or None if this machine cannot compile or run them.

    Parameters
    ----------
    folder
        Folder that caches the compiled library; None compiles it for this process only.
    """
    instructions = instruction_sets()
    if not instructions:
        return None
    compiler = find_compiler()
    if compiler is None:
        logger.warning(
            "no C++ compiler was found, so the engine computes in torch, at a third to a half of "
            "the speed; install g++ or set CXX"
        )
        return None
    return _load(compiler, (*_FLAGS, *_flags_of(instructions)), folder)


def instruction_sets() -> tuple[str, ...]:
    """Return the instruction sets for which the kernels are compiled on this machine, if any."""
    return _instruction_sets(_cpu_flags())


def find_compiler() -> str | None:
    """Return the C++ compiler that is used, or None."""
    return os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")


def _instruction_sets(flags: frozenset[str]) -> tuple[str, ...]:
    """Return the instruction sets to compile for on a CPU with these flags.

    The result is empty if the CPU has none of AVX-512 VNNI, AVX2 and NEON.
    """
    if flags.issuperset(_AVX512):
        return (*_AVX512, *(flag for flag in _AVX512_IF_PRESENT if flag in flags))
    if flags.issuperset(_ARM):
        return (*_ARM, *(flag for flag in _ARM_IF_PRESENT if flag in flags))
    return _AVX2 if flags.issuperset(_AVX2) else ()


@functools.cache
def _load(compiler: str, options: tuple[str, ...], folder: Path | None) -> ctypes.CDLL | None:
    here = Path(__file__).parent
    digest = hashlib.sha256(repr((compiler, options)).encode())
    for name in (*_HEADERS, *_UNITS):
        digest.update((here / name).read_bytes())
    with tempfile.TemporaryDirectory() as scratch:
        library_file = (folder or Path(scratch)) / f"kernels-{digest.hexdigest()[:16]}.so"
        if not library_file.exists() and not _compile(compiler, options, here, library_file):
            return None
        library = ctypes.CDLL(str(library_file))
    library.archon_workspace_new.restype = ctypes.c_void_p
    library.archon_workspace_free.argtypes = [ctypes.c_void_p]
    library.archon_step.argtypes = [ctypes.c_void_p] * 3
    integer, pointer = ctypes.c_int64, ctypes.c_void_p
    library.archon_attention.argtypes = [pointer] * 4
    library.archon_product.argtypes = [pointer, pointer, integer, pointer, integer]
    library.archon_sample.argtypes = [pointer, integer, integer, *[pointer] * 4, integer]
    return library


def _compile(compiler: str, options: tuple[str, ...], here: Path, target: Path) -> bool:
    """Compile the kernels to ``target``, atomically; return False if that fails."""
    logger.info("compiling the engine's kernels (only once; this takes some seconds)")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f"{target.name}.{os.getpid()}")
        done = subprocess.run(
            [compiler, *options, "-o", str(fresh), *(str(here / unit) for unit in _UNITS)],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        if done.returncode == 0:
            fresh.replace(target)
            return True
        reason = done.stderr[-2000:]
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    logger.warning(
        "the engine's kernels could not be compiled, so the engine computes in torch: %s", reason
    )
    return False


@functools.cache
def _cpu_flags() -> frozenset[str]:
    """Return the CPU's instruction sets by Linux's names; empty on other systems."""
    if platform.system() != "Linux":
        return frozenset()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    listed = (line for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(listed, "").split())


def _flags_of(instructions: tuple[str, ...]) -> tuple[str, ...]:
    """Return the compiler's options for instruction sets."""
    if instructions[0] in _ARM:
        names = [_ARM_IF_PRESENT[flag] for flag in instructions if flag in _ARM_IF_PRESENT]
        return ("-march=" + "+".join(["armv8.2-a" if names else "armv8-a", *names]),)
    return tuple("-m" + flag.replace("_", "") for flag in instructions)
