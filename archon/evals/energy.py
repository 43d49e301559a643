"""Energy that this machine uses during a session, where its counters can be read.

Two kinds of counters are read: RAPL's, of the packages of Intel and AMD processors (Linux,
``/sys/class/powercap``; often readable only by root), and NVML's, of NVIDIA GPUs (the package
``pynvml``, if it is installed). They measure the whole machine, other programs included, and not
the rest of it, such as memory without a counter, fans and power supply. A model on another machine
is not measured.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")

Counter = Callable[[], float]
"""Returns the joules that a device has used since its counter was opened."""


class EnergyMeter:
    """Energy since the meter was opened.

    Parameters
    ----------
    powercap
        Folder of the RAPL counters.
    """

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._counters = [*_rapl_counters(powercap), *_gpu_counters()]

    def joules(self) -> float | None:
        """Return the energy used so far; None if no counter can be read."""
        if not self._counters:
            return None
        try:
            return sum(counter() for counter in self._counters)
        except (OSError, ValueError, RuntimeError):
            self._counters = []
            return None


def _rapl_counters(folder: Path) -> list[Counter]:
    """Return the counters of processor packages: ``intel-rapl:0`` and so on, for AMD as well.

    Their parts, such as ``intel-rapl:0:1``, are included in them.
    """
    counters = []
    for package in sorted(folder.glob("intel-rapl:*")):
        if package.name.count(":") == 1:
            with contextlib.suppress(OSError, ValueError):
                if not (package / "name").read_text().startswith("psys"):  # contains the packages
                    counters.append(_rapl_counter(package))
    return counters


def _rapl_counter(package: Path) -> Counter:
    """Return a package's counter, which counts microjoules and restarts at a maximum."""
    largest = int((package / "max_energy_range_uj").read_text())
    last, total = int((package / "energy_uj").read_text()), 0

    def read() -> float:
        nonlocal last, total
        now = int((package / "energy_uj").read_text())
        total += now - last if now >= last else now + largest - last
        last = now
        return total / 1e6

    return read


def _gpu_counters() -> list[Counter]:
    """Return the counters of NVIDIA GPUs; none without ``pynvml``, a driver or such counters."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        devices = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        starts = [nvml.nvmlDeviceGetTotalEnergyConsumption(device) for device in devices]
    except Exception:  # the package raises errors of many types
        return []

    def counter(device: object, start: int) -> Counter:
        return lambda: (nvml.nvmlDeviceGetTotalEnergyConsumption(device) - start) / 1000

    return [counter(device, start) for device, start in zip(devices, starts, strict=True)]
