"""The catalogue of architectures, models, benchmarks and training configurations that Archon ships.

In an installed package, the JSON files are under ``archon/data/``. In a checkout, they are in
folders next to the package.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from archon.errors import SpecError
from archon.plugins import registry
from archon.spec.data_files import DATA_SUFFIXES
from archon.spec.messages import shown, suggestion

Kind = Literal["architecture", "space", "model", "benchmark", "training"]

_FOLDERS: dict[Kind, str] = {
    "architecture": "architectures",
    "space": "architectures/spaces",
    "model": "models",
    "benchmark": "benchmarks",
    "training": "training",
}
_PACKAGE = Path(__file__).parent.parent


def find(kind: Kind, name_or_path: str | os.PathLike[str]) -> Path:
    """Return the path of the file that ``name_or_path`` refers to.

    A ``Path``, or a string that ends in ``.json`` or contains a separator, is a path; the file need
    not exist. Any other string is a catalogue name.

    Raises
    ------
    SpecError
        The name is not in the catalogue.
    """
    ref = os.fspath(name_or_path)
    if is_path(name_or_path):
        return Path(ref)
    if ref in names(kind):
        return _folder(kind) / f"{ref}.json"
    known = [*names(kind), *(registry.names("benchmark") if kind == "benchmark" else ())]
    reason = f"the catalogue has no {kind} named {shown(ref)}{suggestion(ref, known)}"
    if Path(ref).suffix.lower() in DATA_SUFFIXES:
        raise SpecError(f"{reason}, and no such file here; pass a data file with --data")
    raise SpecError(f"{reason} (a path ends in .json or contains '/')")


def find_adapter(name_or_path: str, base_dir: Path, kind: str = "adapter") -> Path:
    """Return the folder of an adapter or reward head.

    Parameters
    ----------
    name_or_path
        A path with a separator, relative to ``base_dir``, or the name of an adapter or reward head
        that Archon ships.
    kind
        ``adapter`` or ``reward head``, for the error message.

    Raises
    ------
    SpecError
        Archon does not ship an adapter or reward head with this name.
    """
    if is_path(name_or_path):
        return base_dir / name_or_path
    folder = _folder("model") / "adapters"
    shipped = sorted(path.name for path in folder.glob("*/"))
    if name_or_path not in shipped:
        hint = suggestion(name_or_path, shipped)
        raise SpecError(
            f"Archon ships no {kind} named {shown(name_or_path)}{hint} (a path contains '/')"
        )
    return folder / name_or_path


def names(kind: Kind) -> list[str]:
    """Return the sorted catalogue names for one type of file."""
    return sorted(path.stem for path in _folder(kind).glob("*.json"))


def benchmark_names() -> list[str]:
    """Return the sorted catalogue names of benchmarks."""
    return names("benchmark")


def is_path(ref: str | os.PathLike[str]) -> bool:
    """Return True if ``find`` treats ``ref`` as a path rather than a name."""
    if not isinstance(ref, str):
        return True
    return ref.endswith(".json") or "/" in ref or os.sep in ref


def _folder(kind: Kind) -> Path:
    packaged = _PACKAGE / "data" / _FOLDERS[kind]
    return packaged if packaged.is_dir() else _PACKAGE.parent / _FOLDERS[kind]
