"""Description of this machine, and memory use of this process."""

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
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "amx_bf16")
"""CPU flags of instruction sets for low-precision numbers."""


def num_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_machine() -> dict[str, Any]:
    """Return the CPU, cores, relevant instruction sets, system, package versions and date."""
    flags = (_field(_CPUINFO, "flags") or "").split()
    return {
        "cpu": _field(_CPUINFO, "model name") or platform.processor() or platform.machine(),
        "cores": num_cores(),
        "features": [name for name in _FEATURES if name in flags],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def available_memory_bytes() -> int | None:
    """Return the memory available without swapping; None if the system does not report it."""
    text = _field(_MEMINFO, "MemAvailable")
    return int(text.split()[0]) * 1024 if text else None


def peak_memory_bytes() -> int | None:
    """Return the peak memory of this process; None if the system does not report it."""
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
