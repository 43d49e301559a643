"""The checks of ``archon doctor``. They change nothing, and use the network only if asked."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from archon.errors import ArchonError

State = Literal["ok", "note", "warning", "broken"]
DEFAULT_MODEL = "qwen2.5-coder-0.5b"
"""The model of all roles of the shipped architectures."""
_DISTRIBUTION = "archon-inference"
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(.*)")
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")
_PURPOSES: Mapping[str, str] = {
    "engine": "local models",
    "adapters": "adapters made by peft",
    "evals": "data sets of the hub, reasoning-gym, math answers, comparisons",
    "sandbox": "programs written by models",
    "search": "archon search",
    "serve": "archon serve",
    "train": "archon train",
    "mlflow": "--track mlflow",
    "wandb": "--track wandb",
    "trackio": "--track trackio",
    "otel": "OpenTelemetry spans",
    "peers": "archon bench peers",
}
"""Extra → what needs it."""
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_GB = 1e9


@dataclass(frozen=True)
class Check:
    """Result of a check, its effect on speed or function, and the cure; empty if there is none.

    ``broken`` means that no command works; ``warning``, that a function is missing or slow.
    """

    name: str
    state: State
    found: str
    effect: str = ""
    cure: str = ""


def all_checks(*, online: bool) -> list[Check]:
    """Return the results of all checks, in the order of the list."""
    checks = [
        _python(),
        _base_packages(),
        *_processor(),
        _gpu(),
        _memory(),
        *_cache(),
        _model(),
        *_extras(),
        *_hub_settings(),
        _terminal(),
    ]
    return [*checks, _hub()] if online else checks


def _python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} in {sys.prefix}")


def _requirements() -> Iterator[tuple[str, str | None]]:
    """Yield (package, extra) for every requirement; the extra of the base install is None."""
    try:
        lines = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return
    for line in lines:
        match, extra = _REQUIREMENT.match(line), _EXTRA.search(line)
        if match is not None and match[1] != _DISTRIBUTION:
            yield match[1], None if extra is None else extra[1]


def _is_installed(package: str) -> bool:
    with suppress(metadata.PackageNotFoundError):
        return bool(metadata.version(package))
    return False


def _base_packages() -> Check:
    base = [package for package, extra in _requirements() if extra is None]
    missing = [package for package in base if not _is_installed(package)]
    if missing:
        return Check(
            "packages",
            "broken",
            f"missing: {', '.join(missing)}",
            "commands fail",
            f"pip install {' '.join(missing)}",
        )
    version = metadata.version(_DISTRIBUTION) if base else "not installed as a package"
    return Check("archon", "ok", f"{version}, with all packages of the base install")


def _processor() -> Iterator[Check]:
    from archon.bench.machine import describe_machine

    machine = describe_machine()
    threads = os.environ.get("OMP_NUM_THREADS")
    cores = f"{machine['cores']} core{'s' if machine['cores'] != 1 else ''}"
    text = f"{machine['cpu']}, {cores}"
    if threads and threads.isdecimal() and int(threads) < machine["cores"]:
        yield Check(
            "cpu",
            "note",
            f"{text}; OMP_NUM_THREADS={threads}",
            f"local models use {threads} of {cores}",
            "unset OMP_NUM_THREADS to use all",
        )
    else:
        yield Check("cpu", "ok", text)
    if not _is_installed("torch"):
        return
    from archon.engine.kernels.build import find_compiler, instruction_sets

    sets = instruction_sets()
    if not sets:
        yield Check(
            "kernels",
            "warning",
            "the CPU has none of AVX-512 VNNI, AVX2 and NEON, or the system is not Linux",
            "local models are computed in torch, at a third to a half of the speed",
        )
        return
    if "avx2" in sets:
        effect = "AVX-512 VNNI, if the CPU had it, would be faster"
        yield Check("kernels", "note", ", ".join(sets), effect)
    else:
        yield Check("kernels", "ok", ", ".join(sets))
    compiler = find_compiler()
    if compiler is None or shutil.which(compiler.split()[0]) is None:
        yield Check(
            "compiler",
            "warning",
            "none" if compiler is None else f"CXX={compiler}, which does not exist",
            "local models are computed in torch, at a third to a half of the speed",
            "install g++, or set CXX to a C++ compiler",
        )
    else:
        yield Check("compiler", "ok", compiler)


def _gpu() -> Check:
    has_driver = shutil.which("nvidia-smi") is not None
    if not _is_installed("torch"):
        found = "there is a driver" if has_driver else "none was looked for"
        return Check("gpu", "note", f"{found}; torch is not installed")
    try:
        import torch

        if torch.cuda.is_available():
            names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
            return Check("gpu", "ok", f"{', '.join(names)} (torch {torch.__version__})")
    except (ImportError, OSError, RuntimeError) as error:
        return Check(
            "gpu",
            "warning",
            f"torch fails: {error}",
            "local models cannot be used",
            "install torch again",
        )
    if has_driver:
        return Check(
            "gpu",
            "warning",
            f"a driver, but torch {torch.__version__} cannot use it",
            "local models use the CPU",
            "install a torch build for CUDA, or repair the driver (nvidia-smi)",
        )
    return Check("gpu", "note", f"none (torch {torch.__version__})", "local models use the CPU")


def _memory() -> Check:
    from archon.bench.machine import available_memory_bytes

    free = available_memory_bytes()
    if free is None:
        return Check("memory", "note", "the system does not report it")
    text = f"{free / _GB:.1f} GB available"
    if free < 2 * _GB:
        return Check(
            "memory",
            "warning",
            text,
            f"{DEFAULT_MODEL} may not fit, or leaves little room for parallel samples",
            "close other programs, or use a smaller model: -m smollm2-135m",
        )
    return Check("memory", "ok", text)


def _cache() -> Iterator[Check]:
    from archon.weights import cache_dir

    folder = cache_dir()
    existing = next((each for each in (folder, *folder.parents) if each.is_dir()), Path("/"))
    if not os.access(existing, os.W_OK):
        yield Check(
            "cache",
            "warning",
            f"{folder} cannot be written",
            "weights, samples and kernels are not kept; models cannot be downloaded",
            "set ARCHON_CACHE to a folder that you may write",
        )
    else:
        yield Check("cache", "ok", str(folder))
    free = shutil.disk_usage(existing).free
    text = f"{free / _GB:.1f} GB free at {existing}"
    if free < 2 * _GB:
        cure = "archon cache clear, or set ARCHON_CACHE to another disk"
        yield Check("disk", "warning", text, "downloads of models may fail", cure)
    else:
        yield Check("disk", "ok", text)


def _model() -> Check:
    from archon import weights
    from archon.cli.weights import local_card
    from archon.spec.reader import load_model_card

    loaded = load_model_card(DEFAULT_MODEL)
    try:
        path = weights.find(local_card(loaded), loaded.base_dir)
    except (ArchonError, OSError) as error:
        return Check("model", "warning", f"{DEFAULT_MODEL}: {error}", "its weights are unusable")
    if path is None:
        return Check(
            "model",
            "note",
            f"{DEFAULT_MODEL} is not downloaded",
            "the first command that uses it downloads 491 MB",
            f"archon models pull {DEFAULT_MODEL}",
        )
    return Check("model", "ok", f"{DEFAULT_MODEL} at {path}")


def _extras() -> Iterator[Check]:
    packages: dict[str, list[str]] = {}
    for package, extra in _requirements():
        if extra is not None:
            packages.setdefault(extra, []).append(package)
    for extra, purpose in _PURPOSES.items():
        missing = [each for each in packages.get(extra, ()) if not _is_installed(each)]
        if extra not in packages:
            continue
        name = f"extra {extra}"
        if missing:
            yield Check(
                name,
                "note",
                f"missing: {', '.join(missing)}",
                f"needed for {purpose}",
                f"pip install '{_DISTRIBUTION}[{extra}]'",
            )
        else:
            yield Check(name, "ok", purpose)


def _hub_settings() -> Iterator[Check]:
    given = {name: _variable(name) for name in _PROXIES if _variable(name)}
    if given:
        text = ", ".join(f"{name}={_without_password(value)}" for name, value in given.items())
        yield Check("proxy", "note", text, "downloads and servers are reached through it")
    for name in _CERTIFICATES:
        path = os.environ.get(name)
        if not path:
            continue
        if Path(path).exists():
            yield Check(name, "note", path, "connections trust these certificates")
        else:
            yield Check(
                name,
                "warning",
                f"{path} does not exist",
                "HTTPS connections fail",
                f"unset {name}, or set it to a file of certificates",
            )
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        cure = "unset HF_HUB_OFFLINE"
        yield Check("hub", "note", "HF_HUB_OFFLINE is set", "nothing is downloaded from it", cure)
    if endpoint := os.environ.get("HF_ENDPOINT"):
        yield Check("hub", "note", f"HF_ENDPOINT={endpoint}", "models come from this server")


def _variable(name: str) -> str:
    return os.environ.get(name) or os.environ.get(name.lower()) or ""


def _without_password(url: str) -> str:
    """Return a URL without user name and password.

    >>> _without_password("http://me:secret@proxy:3128")
    'http://***@proxy:3128'
    """
    return re.sub(r"//[^/@]*@", "//***@", url)


def _terminal() -> Check:
    encoding = (getattr(sys.stdout, "encoding", None) or "unknown").lower()
    if encoding.replace("-", "") != "utf8":
        return Check(
            "terminal",
            "note",
            f"the output has the encoding {encoding}",
            "characters that it lacks are printed as escapes",
            "set LANG to a UTF-8 locale, or PYTHONUTF8=1",
        )
    return Check("terminal", "ok", encoding)


def _hub() -> Check:
    import httpx

    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        reply = httpx.head(address, timeout=10, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        reason = str(error) or type(error).__name__
        return Check(
            "network",
            "warning",
            f"{address}: {reason}",
            "models that are not in the cache cannot be downloaded from the hub",
            "check the proxy and certificates, or set HF_ENDPOINT to a mirror",
        )
    state: State = "ok" if reply.status_code < 400 else "warning"
    return Check("network", state, f"{address}: status {reply.status_code}")
