"""Compiling the kernels at first use, and keeping the result."""

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
_SOURCES = ("simd.h", "rows.h", "int8.h", "int4.h", "product.h", "attention.h", *_UNITS)
_NEEDED = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "fma", "f16c")
_USED_IF_PRESENT = ("avx512_bf16",)
_FLAGS = ("-O3", "-std=c++17", "-ffp-contract=off", "-fopenmp", "-shared", "-fPIC", "-mtune=native")


def load_kernels(folder: Path | None = None) -> ctypes.CDLL | None:
    """The compiled kernels, or None where this machine cannot have them.

    Parameters
    ----------
    folder : where the compiled library is kept; None compiles anew for this process.
    """
    flags = _cpu_flags()
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if not all(flag in flags for flag in _NEEDED):
        return None
    if compiler is None:
        logger.warning("no C++ compiler: the engine computes in torch, about half as fast")
        return None
    options = [*_FLAGS, *(_option(f) for f in (*_NEEDED, *_USED_IF_PRESENT) if f in flags)]
    return _load(compiler, tuple(options), folder)


@functools.cache
def _load(compiler: str, options: tuple[str, ...], folder: Path | None) -> ctypes.CDLL | None:
    here = Path(__file__).parent
    digest = hashlib.sha256(repr((compiler, options)).encode())
    for name in _SOURCES:
        digest.update((here / name).read_bytes())
    with tempfile.TemporaryDirectory() as scratch:
        kept = (folder or Path(scratch)) / f"kernels-{digest.hexdigest()[:16]}.so"
        if not kept.exists() and not _compile(compiler, options, here, kept):
            return None
        library = ctypes.CDLL(str(kept))
    library.archon_workspace_new.restype = ctypes.c_void_p
    library.archon_workspace_free.argtypes = [ctypes.c_void_p]
    library.archon_step.argtypes = [ctypes.c_void_p] * 3
    whole, pointer = ctypes.c_int64, ctypes.c_void_p
    library.archon_attention.argtypes = [pointer] * 4
    library.archon_product.argtypes = [pointer, pointer, whole, pointer, whole]
    library.archon_sample.argtypes = [pointer, whole, whole, pointer, pointer, pointer, whole]
    return library


def _compile(compiler: str, options: tuple[str, ...], here: Path, target: Path) -> bool:
    """Whether it worked. The library appears whole or not at all."""
    logger.info("compiling the engine's kernels (once, some seconds)")
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
    logger.warning("the engine's kernels cannot be compiled, so it computes in torch: %s", reason)
    return False


@functools.cache
def _cpu_flags() -> frozenset[str]:
    """What the CPU can do, as Linux names it; empty elsewhere."""
    if platform.system() != "Linux" or platform.machine() not in ("x86_64", "AMD64"):
        return frozenset()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())


def _option(flag: str) -> str:
    return "-m" + flag.replace("_", "")
