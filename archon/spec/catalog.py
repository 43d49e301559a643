"""From the name of an architecture, a model, a benchmark or a training to its JSON file.

The files are shipped in the wheel under ``archon/data/``; in a checkout they lie beside the
package.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from archon.errors import SpecError
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
    """The file that a user means.

    What ends in ``.json``, contains a separator or is a ``Path`` is taken as a path and returned
    as it is, whether or not there is such a file; anything else is a name.

    Raises
    ------
    SpecError
        The catalogue has no such name.
    """
    ref = os.fspath(name_or_path)
    if is_path(name_or_path):
        return Path(ref)
    if ref in names(kind):
        return _folder(kind) / f"{ref}.json"
    reason = f"no {kind} {shown(ref)} in the catalogue{suggestion(ref, names(kind))}"
    if Path(ref).suffix.lower() in DATA_SUFFIXES:
        raise SpecError(f"{reason}, and no such file here; a file of data is given with --data")
    raise SpecError(f"{reason} (a path ends in .json or contains '/')")


def find_adapter(name_or_path: str, base_dir: Path, kind: str = "adapter") -> Path:
    """The folder of an adapter: a path from ``base_dir``, or the name of one that is shipped.

    Reward heads lie there, too; ``kind`` is for errors.

    Raises
    ------
    SpecError
        None of that name is shipped.
    """
    if is_path(name_or_path):
        return base_dir / name_or_path
    folder = _folder("model") / "adapters"
    shipped = sorted(path.name for path in folder.glob("*/"))
    if name_or_path not in shipped:
        hint = suggestion(name_or_path, shipped)
        raise SpecError(f"no {kind} {shown(name_or_path)} is shipped{hint} (a path contains '/')")
    return folder / name_or_path


def names(kind: Kind) -> list[str]:
    """The names in the catalogue, sorted."""
    return sorted(path.stem for path in _folder(kind).glob("*.json"))


def is_path(ref: str | os.PathLike[str]) -> bool:
    """Whether ``find`` takes it as a path."""
    if not isinstance(ref, str):
        return True
    return ref.endswith(".json") or "/" in ref or os.sep in ref


def _folder(kind: Kind) -> Path:
    packaged = _PACKAGE / "data" / _FOLDERS[kind]
    return packaged if packaged.is_dir() else _PACKAGE.parent / _FOLDERS[kind]
