"""Files that users write, read and checked: one loader for each kind.

A reference is the name of a shipped file, a path, or the data itself as a dict. A relative path
written inside a file starts at that file's folder, its ``base_dir``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import TypeAdapter

from archon.errors import SpecError, UsageError
from archon.spec import catalog
from archon.spec.architecture import ArchitectureSpec
from archon.spec.common import WHEN_USED
from archon.spec.data_files import data_format
from archon.spec.messages import json_path, shown, suggestion
from archon.spec.model import LocalCard, ModelCard, OpenAICard, ScriptedCard
from archon.spec.space import SpaceSpec, is_hole, parse_space
from archon.spec.strict_json import JsonPath, decode_json, read_json, walk
from archon.spec.valid_parts import ValidParts, valid_parts
from archon.spec.validation import parse, validate

if TYPE_CHECKING:
    from archon.spec.benchmark import BenchmarkCard
    from archon.spec.training import AnyTraining

__all__ = [
    "Loaded",
    "Reference",
    "decode_json",
    "kind_of",
    "load_architecture",
    "load_benchmark",
    "load_model_card",
    "load_space",
    "load_training",
    "load_valid_parts",
    "names_space",
    "parse",
    "read_json",
    "schema",
]

T = TypeVar("T")
Reference = str | os.PathLike[str] | dict[str, Any]
AnyCard = LocalCard | OpenAICard | ScriptedCard

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CARD: TypeAdapter[AnyCard] = TypeAdapter(ModelCard, config=WHEN_USED)
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
    "training": "a training's configuration",
}


@dataclass(frozen=True)
class Loaded(Generic[T]):
    """A spec and where it came from."""

    spec: T
    file: str | None
    """The name or path as the user wrote it; None for data given from Python."""
    base_dir: Path
    """Where relative paths in the spec start."""


def load_architecture(ref: Reference, base_dir: Path | None = None) -> Loaded[ArchitectureSpec]:
    """The architecture that ``ref`` names.

    ``base_dir`` is where ``ref`` starts if it is a relative path; by default the working folder.

    Raises
    ------
    SpecError
        There is no such file, it is not strict JSON, it is of another kind, or it breaks the
        schema.
    """
    source = _read("architecture", ref, base_dir)
    hole = _first_hole(source.spec, source.file)
    if hole is not None:
        reason = (
            "is a hole of a search space, which `archon search` takes; an architecture has none"
        )
        raise SpecError(reason, file=source.file, path=json_path(hole))
    spec = parse(ArchitectureSpec, source.spec, source.file)
    return Loaded(spec, source.file, source.base_dir)


def load_valid_parts(ref: Reference, base_dir: Path | None = None) -> Loaded[ValidParts] | None:
    """The valid parts of an architecture that ``load_architecture`` refuses.

    None where the file cannot be read, is of another kind, or has no nodes.
    """
    try:
        source = _read("architecture", ref, base_dir)
    except SpecError:
        return None
    parts = None if kind_of(source.spec) == "space" else valid_parts(source.spec)
    return None if parts is None else Loaded(parts, source.file, source.base_dir)


def load_space(ref: Reference, base_dir: Path | None = None) -> Loaded[SpaceSpec]:
    """The search space that ``ref`` names; otherwise as ``load_architecture``."""
    source = _read("space", ref, base_dir)
    return Loaded(parse_space(source.spec, source.file), source.file, source.base_dir)


def load_model_card(ref: Reference, base_dir: Path | None = None) -> Loaded[AnyCard]:
    """The model card that ``ref`` names; otherwise as ``load_architecture``.

    A GGUF file, or a folder of safetensors, stands for a card that names it and says no more.
    """
    weights = _weights(ref, base_dir)
    if weights is not None:
        path = {"path": str(weights)}
        ref = {"name": weights.stem, "backend": "local", "sources": [path]}
    source = _read("model", ref, base_dir)
    return Loaded(validate(_CARD, source.spec, source.file), source.file, source.base_dir)


def is_model(ref: Reference, base_dir: Path | None = None) -> bool:
    """Whether a model answers to ``ref``, and no architecture.

    Names of architectures come before those of models; a file is told by what it says.

    Raises
    ------
    SpecError
        The file cannot be read.
    """
    if isinstance(ref, dict):
        return _recognised(ref) == "model"
    if _weights(ref, base_dir) is not None:
        return True
    if catalog.is_path(ref):
        path = (base_dir or Path.cwd()) / ref
        return _recognised(read_json(path, os.fspath(ref))) == "model"
    return ref in catalog.names("model") and ref not in catalog.names("architecture")


def _weights(ref: Reference, base_dir: Path | None) -> Path | None:
    """The weights on this machine that ``ref`` is a path of, or None where it is no such path."""
    if isinstance(ref, dict):
        return None
    path = (base_dir or Path.cwd()) / ref
    is_there = catalog.is_path(ref) and ((path / "config.json").is_file() or _is_gguf(path))
    # A file of that suffix which is missing, or no GGUF file, is refused as weights.
    if not (is_there or path.suffix.lower() == ".gguf"):
        return None
    # A file's link is not followed: the parts of a split model know each other by their names.
    return path.resolve() if path.is_dir() else path.parent.resolve() / path.name


def _is_gguf(path: Path) -> bool:
    """Whether a file begins as GGUF files do, whatever its name."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError:
        return False


def load_benchmark(ref: Reference, base_dir: Path | None = None) -> Loaded[BenchmarkCard]:
    """The benchmark card that ``ref`` names; otherwise as ``load_architecture``."""
    from archon.spec.benchmark import BenchmarkCard

    source = _read("benchmark", ref, base_dir)
    return Loaded(parse(BenchmarkCard, source.spec, source.file), source.file, source.base_dir)


def load_training(ref: Reference, base_dir: Path | None = None) -> Loaded[AnyTraining]:
    """The configuration of a training that ``ref`` names; otherwise as ``load_architecture``."""
    from archon.spec.training import TrainingSpec

    source = _read("training", ref, base_dir)
    spec = validate(TypeAdapter(TrainingSpec), source.spec, source.file)
    return Loaded(spec, source.file, source.base_dir)


def kind_of(data: Any) -> str:
    """The kind of file that ``data`` came from.

    ``"architecture"`` by its key ``nodes``, ``"space"`` where it has holes, too; ``"model"`` by
    ``backend``, ``"benchmark"`` by ``source``, ``"training"`` by its own name; anything else is
    taken for an architecture.
    """
    kind = _recognised(data) or "architecture"
    return "space" if kind == "architecture" and _first_hole(data) is not None else kind


def names_space(ref: Reference) -> bool:
    """Whether ``ref`` names a search space: its data has holes, or the catalogue knows it as one.

    Raises
    ------
    SpecError
        It names a file that is missing or no strict JSON.
    """
    if isinstance(ref, dict):
        return kind_of(ref) == "space"
    _check_no_data("architecture", Path.cwd() / ref, os.fspath(ref))
    spaces = catalog.names("space")
    if ref in spaces:
        return True
    if ref in catalog.names("architecture"):
        return False
    path = catalog.find("architecture", ref)
    return kind_of(read_json(path, os.fspath(ref))) == "space"


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a kind of file: ``architecture``, ``space``, ``model``, ``benchmark``,
    ``training``.

    Raises
    ------
    UsageError
        There is no such kind.
    """
    adapter: TypeAdapter[Any]
    match kind:
        case "architecture":
            adapter = TypeAdapter(ArchitectureSpec)
        case "model":
            adapter = _CARD
        case "training":
            from archon.spec.training import TrainingSpec

            adapter = TypeAdapter(TrainingSpec)
        case "benchmark":
            from archon.spec.benchmark import BenchmarkCard

            adapter = TypeAdapter(BenchmarkCard)
        case "space":
            from archon.spec.space_schema import space_schema

            return {"$schema": _DIALECT, **space_schema()}
        case _:
            hint = suggestion(kind, _NOUNS)
            raise UsageError(f"no schema for {shown(kind)}{hint}")
    return {"$schema": _DIALECT, **adapter.json_schema()}


def _read(kind: catalog.Kind, ref: Reference, base_dir: Path | None) -> Loaded[Any]:
    """The data that ``ref`` names, not validated but for its kind and version."""
    base_dir = Path.cwd() if base_dir is None else base_dir.absolute()
    if isinstance(ref, dict):
        source: Loaded[Any] = Loaded(ref, None, base_dir)
    else:
        file = os.fspath(ref)
        _check_no_data(kind, base_dir / file, file)
        path = base_dir / catalog.find(kind, ref)
        source = Loaded(read_json(path, file), file, path.parent)
    _check_kind(kind, source.spec, source.file)
    _check_version(source.spec, source.file)
    return source


def _check_no_data(kind: catalog.Kind, path: Path, file: str) -> None:
    """Before the file is taken for JSON, or its name for one of the catalogue."""
    what = data_format(path)
    if what is None:
        return
    reason = f"holds data ({what}), where {_NOUNS[kind]} is wanted"
    if kind in ("benchmark", "architecture"):
        reason += f"; evaluate on data with: archon eval ARCH BENCH --data {file}"
        if what != "JSON Lines":
            reason += ", after a conversion to JSON Lines"
    raise SpecError(reason, file=file)


def _check_kind(expected: catalog.Kind, data: Any, file: str | None) -> None:
    kind = _recognised(data)
    if kind == "architecture" and expected == "space":
        return  # whoever reads it looks for holes
    if kind is not None and kind != expected:
        raise SpecError(f"is {_NOUNS[kind]}, where {_NOUNS[expected]} is wanted", file=file)


def _recognised(data: Any) -> catalog.Kind | None:
    keys = data if isinstance(data, dict) else ()
    return next((kind for key, kind in _KIND_OF_KEY.items() if key in keys), None)


def _check_version(data: Any, file: str | None) -> None:
    """Before all else, as other versions have other keys."""
    version = data.get("version", 1) if isinstance(data, dict) else 1
    if isinstance(version, int) and version != 1:
        reason = f"version {shown(version)} of the format is unknown; this is a reader of version 1"
        raise SpecError(reason, file=file, path="$.version")


def _first_hole(data: Any, file: str | None = None) -> JsonPath | None:
    return next(
        (path for path, value in walk(data, file) if is_hole(value)),
        None,
    )
