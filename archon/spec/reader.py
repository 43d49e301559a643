"""Load users' files: architectures, search spaces, cards and training configurations.

A reference (``ref``) is the name of a shipped file, a path, or the data itself as a dict. Relative
paths in a file are based on the file's folder (``Loaded.base_dir``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, assert_never

from pydantic import TypeAdapter

from archon.errors import SpecError, UsageError
from archon.spec import catalog, model_strings
from archon.spec.architecture import ArchitectureSpec
from archon.spec.changes import Setting, changed
from archon.spec.common import DEFER_BUILD
from archon.spec.data_files import data_format
from archon.spec.messages import json_path, shown, suggestion
from archon.spec.model import LocalCard, ModelCard, OpenAICard, PluginCard, ScriptedCard
from archon.spec.plugin_nodes import with_plugin_nodes
from archon.spec.space import SpaceSpec, is_parameter, parse_space
from archon.spec.strict_json import JsonPath, read_json, walk
from archon.spec.valid_parts import ValidParts, valid_parts
from archon.spec.validation import validate

if TYPE_CHECKING:
    from archon.spec.benchmark import BenchmarkCard
    from archon.spec.training import AnyTraining

T = TypeVar("T")
Reference = str | os.PathLike[str] | dict[str, Any]
AnyCard = LocalCard | OpenAICard | ScriptedCard | PluginCard

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CARD: TypeAdapter[AnyCard] = TypeAdapter(ModelCard, config=DEFER_BUILD)
_KIND_OF_KEY: dict[str, catalog.Kind] = {
    "nodes": "architecture",
    "backend": "model",
    "source": "benchmark",
    "training": "training",
}
_NOUNS: dict[catalog.Kind, str] = {
    "architecture": "an architecture",
    "space": "a search space",
    "model": "a model card",
    "benchmark": "a benchmark card",
    "training": "a training configuration",
}


@dataclass(frozen=True)
class Loaded(Generic[T]):
    """The contents of a loaded file, with their source."""

    spec: T
    file: str | None
    """Name or path of the file, as the user wrote it; None for data passed from Python."""
    base_dir: Path
    """The folder that relative paths in the spec start at."""
    origin: str = ""
    """The file of a model card, or how its string was read, for errors about its weights; empty
    where the card's name says it."""


def load_architecture(
    ref: Reference, base_dir: Path | None = None, settings: Sequence[Setting] = ()
) -> Loaded[ArchitectureSpec]:
    """Load the architecture that ``ref`` names.

    Parameters
    ----------
    base_dir
        Folder on which a relative ``ref`` is based; by default, the working folder.
    settings
        New values for keys of the file (``archon.spec.changes``).

    Raises
    ------
    SpecError
        The file does not exist, is not strict JSON, has a different type, or does not match the
        schema.
    """
    source = _read_changed(ref, base_dir, settings)
    path = _first_parameter(source.spec, source.file)
    if path is not None:
        reason = (
            "is a search parameter, which is allowed only in search spaces; use `archon search`, "
            "or replace the parameter by a value"
        )
        raise SpecError(reason, file=source.file, path=json_path(path))
    return _validated("architecture", source)


def _read_changed(
    ref: Reference, base_dir: Path | None, settings: Sequence[Setting]
) -> Loaded[Any]:
    source = _read("architecture", ref, base_dir)
    return replace(source, spec=changed(source.spec, settings))


def load_valid_parts(
    ref: Reference, base_dir: Path | None = None, settings: Sequence[Setting] = ()
) -> Loaded[ValidParts] | None:
    """Load the valid parts of an architecture that ``load_architecture`` rejects.

    Return None if the file cannot be read, is not an architecture, or has no nodes.
    """
    try:
        source = _read_changed(ref, base_dir, settings)
    except SpecError:
        return None
    parts = None if kind_of(source.spec) == "space" else valid_parts(source.spec)
    return None if parts is None else Loaded(parts, source.file, source.base_dir)


def load_space(ref: Reference, base_dir: Path | None = None) -> Loaded[SpaceSpec]:
    """Load the search space that ``ref`` names; see ``load_architecture``."""
    source = _read("space", ref, base_dir)
    return Loaded(parse_space(source.spec, source.file), source.file, source.base_dir)


def load_model_card(ref: Reference, base_dir: Path | None = None) -> Loaded[AnyCard]:
    """Load the model card that ``ref`` names; see ``load_architecture``.

    Strings of other forms, such as ``hf:owner/name``, stand for a card
    (``archon.spec.model_strings``); a GGUF file or a folder of safetensors stands for a card with
    that source and default settings.
    """
    folder = _folder(base_dir)
    if isinstance(ref, dict):
        return _validated("model", _read("model", ref, base_dir))
    meaning = model_strings.read(ref, folder)
    file = os.fspath(ref)
    match meaning:
        case model_strings.Shipped():
            return _validated("model", _read("model", file, folder))
        case model_strings.CardFile(path=path):
            if not path.exists() and (near := model_strings.near_paths(file, path)):
                reason = f"no such file; did you mean {' or '.join(map(shown, near))}?"
                raise SpecError(reason, file=file)
            ref = Path(file).expanduser() if file.startswith("~") else ref
            return replace(_validated("model", _read("model", ref, folder)), origin=file)
        case model_strings.Weights(path=path):
            data, origin = model_strings.weights_card(path), file
        case model_strings.Resolved(card=data, note=note):
            origin = f"{file} ({note})" if note else ""
        case _:
            assert_never(meaning)
    return replace(_validated("model", Loaded(data, file, folder)), origin=origin)


def is_model(ref: Reference, base_dir: Path | None = None) -> bool:
    """Return True if ``ref`` names a model rather than an architecture.

    If the catalogue has both a model and an architecture of this name, the architecture takes
    precedence. If ``ref`` is a path, the contents of the file decide.

    Raises
    ------
    SpecError
        The file cannot be read.
    """
    if isinstance(ref, dict):
        return _kind_by_key(ref) == "model"
    if ref in catalog.names("architecture"):
        return False
    folder = _folder(base_dir)
    try:
        meaning = model_strings.read(ref, folder)
    except SpecError:
        return False
    if isinstance(meaning, model_strings.CardFile):
        return _kind_by_key(read_json(meaning.path, os.fspath(ref))) == "model"
    return True


def _folder(base_dir: Path | None) -> Path:
    return Path.cwd() if base_dir is None else base_dir.absolute()


def load_benchmark(ref: Reference, base_dir: Path | None = None) -> Loaded[BenchmarkCard]:
    """Load the benchmark card that ``ref`` names; see ``load_architecture``."""
    return _validated("benchmark", _read("benchmark", ref, base_dir))


def load_training(ref: Reference, base_dir: Path | None = None) -> Loaded[AnyTraining]:
    """Load the training configuration that ``ref`` names; see ``load_architecture``."""
    return _validated("training", _read("training", ref, base_dir))


def kind_of(data: Any) -> catalog.Kind:
    """Return the file type of ``data``.

    The ``backend`` key identifies a ``"model"``, ``source`` identifies a ``"benchmark"``, and
    ``training`` identifies a ``"training"``. Other data is a ``"space"`` if it has search
    parameters, and an ``"architecture"`` otherwise.
    """
    kind = _kind_by_key(data) or "architecture"
    return "space" if kind == "architecture" and _first_parameter(data) is not None else kind


def names_space(ref: Reference) -> bool:
    """Return True if ``ref`` names a search space rather than an architecture.

    A file or dict is a search space if it has search parameters.

    Raises
    ------
    SpecError
        ``ref`` is the path of a file that is missing or not strict JSON.
    """
    if isinstance(ref, dict):
        return kind_of(ref) == "space"
    _reject_data_file("architecture", Path.cwd() / ref, os.fspath(ref))
    if ref in catalog.names("space"):
        return True
    if ref in catalog.names("architecture"):
        return False
    path = catalog.find("architecture", ref)
    return kind_of(read_json(path, os.fspath(ref))) == "space"


def schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of a file type.

    Parameters
    ----------
    kind
        ``architecture``, ``space``, ``model``, ``benchmark`` or ``training``.

    Raises
    ------
    UsageError
        ``kind`` is none of these.
    """
    if kind == "space":
        from archon.spec.space_schema import space_schema

        return {"$schema": _DIALECT, **space_schema()}
    if kind not in _NOUNS:
        raise UsageError(f"{shown(kind)} is not a kind of file{suggestion(kind, _NOUNS)}")
    found = _adapter(kind).json_schema()
    return {"$schema": _DIALECT, **(with_plugin_nodes(found) if kind == "architecture" else found)}


def _adapter(kind: str) -> TypeAdapter[Any]:
    match kind:
        case "model":
            return _CARD
        case "benchmark":
            from archon.spec.benchmark import BenchmarkCard

            return TypeAdapter(BenchmarkCard)
        case "training":
            from archon.spec.training import TrainingSpec

            return TypeAdapter(TrainingSpec)
        case _:
            return TypeAdapter(ArchitectureSpec)


def _validated(kind: catalog.Kind, source: Loaded[Any]) -> Loaded[Any]:
    spec = validate(_adapter(kind), source.spec, source.file)
    return Loaded(spec, source.file, source.base_dir)


def _read(kind: catalog.Kind, ref: Reference, base_dir: Path | None) -> Loaded[Any]:
    """Read the data that ``ref`` names and check only its kind and version."""
    base_dir = _folder(base_dir)
    if isinstance(ref, dict):
        source: Loaded[Any] = Loaded(ref, None, base_dir)
    else:
        file = os.fspath(ref)
        _reject_data_file(kind, base_dir / file, file)
        path = base_dir / catalog.find(kind, ref)
        source = Loaded(read_json(path, file), file, path.parent)
    _check_kind(kind, source.spec, source.file)
    _check_version(source.spec, source.file)
    return source


def _reject_data_file(kind: catalog.Kind, path: Path, file: str) -> None:
    """Raise a helpful error if a file is a data file rather than a card or an architecture."""
    found = data_format(path)
    if found is None:
        return
    reason = f"is a data file ({found}); expected {_NOUNS[kind]}"
    if kind in ("benchmark", "architecture"):
        reason += f". To evaluate on this data, use: archon eval ARCH {file}"
    raise SpecError(reason, file=file)


def _check_kind(expected: catalog.Kind, data: Any, file: str | None) -> None:
    kind = _kind_by_key(data)
    if kind == "architecture" and expected == "space":
        return  # the caller looks for search parameters
    if kind is not None and kind != expected:
        raise SpecError(f"is {_NOUNS[kind]}; expected {_NOUNS[expected]}", file=file)


def _kind_by_key(data: Any) -> catalog.Kind | None:
    keys = data if isinstance(data, dict) else ()
    return next((kind for key, kind in _KIND_OF_KEY.items() if key in keys), None)


def _check_version(data: Any, file: str | None) -> None:
    """Check the version of the format first, because other versions may have different keys."""
    version = data.get("version", 1) if isinstance(data, dict) else 1
    if isinstance(version, int) and version != 1:
        reason = f"file format version {shown(version)} is not supported; use version 1"
        raise SpecError(reason, file=file, path="$.version")


def _first_parameter(data: Any, file: str | None = None) -> JsonPath | None:
    """Return the path of the first search parameter in the data, or None if there is none."""
    return next((path for path, value in walk(data, file) if is_parameter(value)), None)
