"""Lookup of names and paths in the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from archon.errors import SpecError
from archon.spec import catalog


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with two architectures and no package data."""
    folder = tmp_path / "architectures"
    folder.mkdir()
    for name in ("single", "rank-fuse"):
        (folder / f"{name}.json").write_text("{}", encoding="utf-8")
    (folder / "README.md").write_text("", encoding="utf-8")
    package = tmp_path / "archon"
    package.mkdir()
    monkeypatch.setattr(catalog, "_PACKAGE", package)
    return tmp_path


def test_a_name_becomes_the_file_of_its_kind(shipped: Path) -> None:
    assert catalog.find("architecture", "single") == shipped / "architectures" / "single.json"


def test_names_are_sorted_and_only_json(shipped: Path) -> None:
    assert catalog.names("architecture") == ["rank-fuse", "single"]


def test_a_missing_folder_has_no_names(shipped: Path) -> None:
    assert catalog.names("benchmark") == []


def test_packaged_data_takes_precedence_over_folders_next_to_the_package(shipped: Path) -> None:
    packaged = shipped / "archon" / "data" / "architectures"
    packaged.mkdir(parents=True)
    (packaged / "wheel.json").write_text("{}", encoding="utf-8")
    assert catalog.names("architecture") == ["wheel"]


@pytest.mark.parametrize("ref", ["single.json", "./single", "folder/single", Path("single")])
def test_a_path_takes_precedence_over_the_catalogue(shipped: Path, ref: str | Path) -> None:
    assert catalog.find("architecture", ref) == Path(ref)


def test_an_unknown_name_is_reported_with_the_nearest(shipped: Path) -> None:
    with pytest.raises(SpecError, match=r"named 'rank-fsue'.*did you mean 'rank-fuse'\?"):
        catalog.find("architecture", "rank-fsue")


@pytest.mark.parametrize("name", ["", "..", "single\0", "x" * 10_000, "*", "Single "])
def test_odd_names_are_unknown_names(shipped: Path, name: str) -> None:
    with pytest.raises(SpecError, match="the catalogue has no"):
        catalog.find("architecture", name)
