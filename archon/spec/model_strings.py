"""Model strings: one line that stands for a model card.

============================================ ======================================================
``qwen2.5-coder-0.5b``                       a card of the catalogue
``./card.json``, ``model.gguf``, ``~/model`` a card, a GGUF file or a model folder
``hf:owner/name``                            a folder of the Hugging Face hub, or its Q4_K_M file
``hf:owner/name:Q5_K_M``, ``hf:…:file.gguf`` a GGUF file of the hub, by quantization or by name
``hf:owner/name@revision``                   the same at a branch, tag or commit
``owner/name``                               the same as with ``hf:``, unless there is such a path
``openai:gpt-4o-mini``, ``ollama:llama3.2``  a model of a provider (``archon.spec.providers``)
``openai/gpt-4o-mini``                       the same, unless there is such a path
``prefix:name``                              a model of a plug-in's provider
``http://host:port/v1#model``                a model of any server with OpenAI's protocol
============================================ ======================================================

Only this module reads such strings; everything else gets the card. A ``Path`` object is always a
path.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from archon.errors import SpecError
from archon.plugins import lookup, registry
from archon.plugins.declarations import ProviderPlugin
from archon.plugins.user_code import user_errors
from archon.spec import catalog
from archon.spec.messages import shown
from archon.spec.providers import PROVIDERS
from archon.spec.secrets import has_known_key

ALL_ROLES = "*"
"""Key of the model for all roles, in a mapping from roles to models."""
HUB = "hf"
_HUB_PAGES = ("https://huggingface.co/", "https://hf.co/", "huggingface.co/", "hf.co/")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_HUB_REST = re.compile(r"(?::(?P<file>[^:@]+))?(?:@(?P<revision>[^:@]+))?")
_HUB_REST_REVISION_FIRST = re.compile(r"@(?P<revision>[^:@]+):(?P<file>[^:@]+)")
_PAGE_REST = re.compile(r"/(?:tree|blob|resolve)/(?P<revision>[^/]+)(?:/(?P<file>.+?))?/?")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9_-]+(?=:)")
_NUM_SUGGESTIONS = 3
_MAX_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Shipped:
    """A card of the catalogue."""

    name: str


@dataclass(frozen=True, slots=True)
class CardFile:
    """A card in a JSON file."""

    path: Path


@dataclass(frozen=True, slots=True)
class Weights:
    """A GGUF file or a model folder."""

    path: Path


@dataclass(frozen=True, slots=True)
class Resolved:
    """A card that a string describes completely, as data."""

    card: dict[str, Any]
    note: str = ""
    """How the string was read, if it could mean something else."""


Meaning = Shipped | CardFile | Weights | Resolved


def read(ref: str | os.PathLike[str], base_dir: Path) -> Meaning:
    """Return the meaning of a model string or path; relative paths start at ``base_dir``.

    Raises
    ------
    SpecError
        The string has no meaning; the error lists the nearest interpretations.
    """
    text = os.fspath(ref)
    if not isinstance(ref, str):
        return _path(text, base_dir)
    if text in catalog.names("model"):
        return Shipped(text)
    if len(text) > _MAX_LENGTH or has_known_key(text):
        fault = "is too long" if len(text) > _MAX_LENGTH else "contains what looks like a key"
        raise SpecError(f"the model string {fault}; name a model, such as 'openai:gpt-4o-mini'")
    for reading in (_hub_page, _server, _prefixed):
        found = reading(text)
        if found is not None:
            return found
    if is_explicit_path(text) or ("/" in text and _exists(base_dir / text)):
        return _path(text, base_dir)
    return _provider_path(text) or _bare_repository(text) or _elsewhere(text, base_dir)


def is_explicit_path(text: str) -> bool:
    """Return True if a string is a path by its form, whether or not the file exists."""
    starts = ("./", "../", "/", "~", f".{os.sep}", f"..{os.sep}", os.sep)
    if text.startswith(starts):
        return True
    repository = _REPOSITORY.match(text)
    is_file_of_hub = repository is not None and text[repository.end() :].startswith((":", "@"))
    return text.lower().endswith((".json", ".gguf")) and not is_file_of_hub


def is_path(ref: str | os.PathLike[str], base_dir: Path) -> bool:
    """Return True if a reference to a model is a path, rather than another string or a name."""
    try:
        return isinstance(read(ref, base_dir), CardFile | Weights)
    except SpecError:
        return False


# ------------------------------------------------------------------------------------------ paths


def _path(text: str, base_dir: Path) -> CardFile | Weights:
    path = base_dir / Path(text).expanduser()
    # A .gguf path that is missing or not a GGUF file counts as weights, and fails as such later.
    is_weights = _exists(path / "config.json") or _is_gguf(path)
    if not is_weights and path.suffix.lower() != ".gguf":
        return CardFile(path)
    # Links to files are not followed: the parts of a split model refer to each other by name.
    return Weights(path.resolve() if path.is_dir() else path.parent.resolve() / path.name)


def _is_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except (OSError, ValueError):
        return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or a null byte
        return False


def weights_card(path: Path) -> dict[str, Any]:
    """Return the card of a GGUF file or a model folder, with default settings."""
    name = path.name if path.is_dir() else path.stem
    return {"name": name, "backend": "local", "sources": [{"path": str(path)}]}


# -------------------------------------------------------------------------------------------- hub


def _hub_page(text: str) -> Resolved | None:
    """Read the address of a page on the hub, as copied from a browser."""
    for start in _HUB_PAGES:
        if text.startswith(start):
            rest = text.removeprefix(start)
            found = _REPOSITORY.match(rest)
            page = found and _PAGE_REST.fullmatch(rest, found.end())
            if found and page:
                return _hub_card(found.group(), page["file"], page["revision"])
            return _hub(rest.rstrip("/"))
    return None


def _hub(text: str) -> Resolved:
    """Read ``owner/name``, with a file or quantization after ``:`` and a revision after ``@``."""
    found = _REPOSITORY.match(text)
    rest = found and (
        _HUB_REST.fullmatch(text, found.end())
        or _HUB_REST_REVISION_FIRST.fullmatch(text, found.end())
    )
    if not found or not rest:
        raise SpecError(
            f"{shown(text)} does not name a model of the hub; write hf:owner/name, "
            "hf:owner/name:Q4_K_M, hf:owner/name:file.gguf or hf:owner/name@revision"
        )
    return _hub_card(found.group(), rest["file"], rest["revision"])


def _hub_card(repository: str, file: str | None, revision: str | None) -> Resolved:
    source = {"huggingface": repository, "file": file, "revision": revision}
    card = {
        "name": hub_name(repository, file, revision),
        "backend": "local",
        "sources": [{key: value for key, value in source.items() if value is not None}],
    }
    return Resolved(card)


def hub_name(repository: str, file: str | None, revision: str | None) -> str:
    """Return the string of a model on the hub, without ``hf:``."""
    return repository + (f":{file}" if file else "") + (f"@{revision}" if revision else "")


def _bare_repository(text: str) -> Resolved | None:
    found = _REPOSITORY.match(text)
    if not found:
        return None
    try:
        card = _hub(text).card
    except SpecError:
        return None
    return Resolved(card, "read as a model of the Hugging Face hub, since there is no such path")


# ---------------------------------------------------------------------------------------- servers


def _server(text: str) -> Resolved | None:
    if not text.startswith(("http://", "https://")):
        return None
    address, _, model = text.partition("#")
    parts = urlsplit(address)
    if parts.path in ("", "/"):
        address = f"{address.rstrip('/')}/v1"
    card = {"name": text, "backend": "openai", "base_urls": [address]}
    return Resolved(card | ({"model": model} if model else {}))


def _prefixed(text: str) -> Resolved | None:
    """Read ``hf:…`` or ``provider:model``."""
    prefix, colon, rest = text.partition(":")
    if not colon:
        return None
    if prefix == HUB:
        return _hub(rest)
    if prefix in PROVIDERS:
        return _provider_card(prefix, rest)
    return _plugin_card(prefix, rest) if _SCHEME.match(text) else None


def _provider_path(text: str) -> Resolved | None:
    """Read ``provider/model``, the spelling of other libraries."""
    owner, slash, model = text.partition("/")
    if not slash or owner not in PROVIDERS or not model:
        return None
    return _provider_card(owner, model)


def _provider_card(provider: str, model: str) -> Resolved:
    card = {"name": f"{provider}:{model}", "backend": "openai", "provider": provider}
    if model:
        return Resolved(card | {"model": model})
    if PROVIDERS[provider].needs_key:
        raise SpecError(f"the model is missing; write {provider}:MODEL")
    return Resolved(card | {"name": provider})


def _plugin_card(prefix: str, model: str) -> Resolved | None:
    """Return the card of a model of a plug-in's provider; None if no plug-in has the prefix."""
    registration = lookup.find("provider", prefix)
    if registration is None:
        return None
    if not model:
        raise SpecError(f"the model is missing; write {prefix}:MODEL")
    card = {"name": f"{prefix}:{model}"}
    declaration: ProviderPlugin = registration.declaration
    if declaration.capabilities is not None:
        return Resolved({**card, "backend": "plugin", "provider": prefix, "model": model})
    with user_errors(registration.place):
        found = registration.code(model)
    if not isinstance(found, dict):
        raise SpecError(
            f"the provider {prefix!r} must return a dict with the keys of a server's card, not "
            f"{shown(found)}; a provider that makes models needs capabilities= in its "
            "@archon.provider",
            file=registration.place,
        )
    return Resolved({**card, "backend": "openai", "model": model, **found})


def reserved_prefixes() -> frozenset[str]:
    """Return the prefixes of model strings that no plug-in can register."""
    return frozenset({HUB, "http", "https", *PROVIDERS})


# ------------------------------------------------------------------------------------ suggestions


def _elsewhere(text: str, base_dir: Path) -> Meaning:
    """Read any other text: a path that does not exist, or a name that is unknown."""
    if "/" in text or os.sep in text:
        return CardFile(base_dir / text)
    raise SpecError(
        f"no model {shown(text)} in the catalogue, and no such file; "
        f"did you mean {_or(suggestions(text, base_dir))}?"
    )


def near_paths(text: str, path: Path) -> list[str]:
    """Return what a string that was read as a missing path could mean instead.

    These are up to three models next to it with a similar name. If there are none, and the string
    need not be a path, they are its other interpretations.
    """
    stems = {Path(name).stem: name for name in _models_here(path.parent)}
    near = [stems[stem] for stem in difflib.get_close_matches(path.stem, stems)]
    return near or ([] if is_explicit_path(text) else suggestions(text, path.parent))


def suggestions(text: str, base_dir: Path) -> list[str]:
    """Return the three nearest interpretations of a string without a meaning."""
    prefix = _SCHEME.match(text)
    rest = text[prefix.end() + 1 :] if prefix else text
    wanted = text.lower()
    options = {name.lower(): name for name in catalog.names("model")}
    options |= {file.lower(): f"./{file}" for file in _models_here(base_dir)}
    near = [options[key] for key in difflib.get_close_matches(wanted, options, n=2, cutoff=0.5)]
    if prefix:
        known = [HUB, *PROVIDERS, *registry.names("provider")]
        schemes = difflib.get_close_matches(prefix.group().lower(), known, cutoff=0.6)
        near = [f"{scheme}:{rest}" for scheme in schemes[:2]] + near
    return list(dict.fromkeys([*near, *_readings(text, prefix is not None, rest)]))[
        :_NUM_SUGGESTIONS
    ]


def _readings(text: str, has_prefix: bool, rest: str) -> list[str]:
    """Return what a string could mean by its form, the likeliest first."""
    owner, *names = text.split("/")
    if has_prefix:
        return [f"ollama:{text}", f"hf:OWNER/{rest.rpartition('/')[2]}", f"./{text}"]
    if names and all((owner, *names)):
        file = f":{'/'.join(names[1:])}" if names[1:] else ""
        return [f"hf:{owner}/{names[0]}{file}", f"openrouter:{text}", f"./{text}"]
    return [f"ollama:{text}", f"hf:OWNER/{text}", f"./{text}"]


def _models_here(base_dir: Path) -> Iterable[str]:
    """Yield the names of the cards, GGUF files and model folders in a folder."""
    try:
        paths = sorted(base_dir.iterdir())
    except OSError:
        return
    for path in paths:
        if path.suffix.lower() in (".gguf", ".json") or _exists(path / "config.json"):
            yield path.name


def _or(options: list[str]) -> str:
    *first, last = [shown(option) for option in options]
    return f"{', '.join(first)} or {last}" if first else last
