"""The machine that figures were measured on, and the memory of this process."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

_CPUINFO, _MEMINFO = Path("/proc/cpuinfo"), Path("/proc/meminfo")
_PACKAGES = ("torch", "llama-cpp-python", "transformers")


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_machine() -> dict[str, Any]:
    """CPU, cores, instruction sets that matter here, system, versions of packages, date."""
    return {
        "cpu": cpu_model(),
        "cores": num_cores(),
        "features": cpu_features(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def cpu_model() -> str:
    """The processor's name as the system reports it."""
    return _field(_CPUINFO, "model name") or platform.processor() or platform.machine()


def cpu_features() -> list[str]:
    """Which of the instruction sets for small numbers the processor has."""
    flags = (_field(_CPUINFO, "flags") or "").split()
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "amx_bf16")
    return [flag for flag in wanted if flag in flags]


def available_memory_bytes() -> int | None:
    """Memory that is available without swapping; None where the system does not report it."""
    text = _field(_MEMINFO, "MemAvailable")
    return int(text.split()[0]) * 1024 if text else None


def peak_memory_bytes() -> int | None:
    """The most memory that this process had; None where the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def _field(path: Path, name: str) -> str | None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
