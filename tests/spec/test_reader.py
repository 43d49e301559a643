"""Loading of files by name, path or dict, with checks of kind and version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from archon.errors import SpecError, UsageError
from archon.spec import catalog, reader

ARCHITECTURE: dict[str, Any] = {
    "version": 1,
    "name": "one",
    "models": {"solver": "scripted"},
    "nodes": {"draft": {"type": "generator", "model": "solver"}},
    "output": "draft",
}
CARD: dict[str, Any] = {"name": "double", "backend": "scripted"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one.json").write_text(json.dumps(ARCHITECTURE), encoding="utf-8")
    (tmp_path / "card.json").write_text(json.dumps(CARD), encoding="utf-8")
    return tmp_path


def test_a_dict_is_loaded_unchanged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = reader.load_architecture(ARCHITECTURE)
    assert loaded.spec.name == "one"
    assert loaded.file is None
    assert loaded.base_dir == tmp_path


def test_a_path_is_kept_as_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    loaded = reader.load_architecture("./one.json")
    assert loaded.file == "./one.json"
    assert loaded.base_dir == folder


def test_relative_paths_start_at_the_base_folder(folder: Path) -> None:
    loaded = reader.load_model_card("card.json", base_dir=folder)
    assert loaded.spec.name == "double"
    assert loaded.file == "card.json"
    assert loaded.base_dir == folder


@pytest.mark.parametrize("name", ["tiny.gguf", "./tiny.gguf", "weights/", "./weights"])
def test_a_path_of_weights_replaces_a_card(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (folder / "weights").mkdir()
    (folder / "weights" / "config.json").write_text("{}")
    monkeypatch.chdir(folder)
    card = reader.load_model_card(name).spec
    assert card.backend == "local"
    assert card.name == Path(name).stem
    assert [source.path for source in card.sources] == [str((folder / name).resolve())]  # type: ignore[union-attr]
    assert reader.is_model(name)


@pytest.mark.parametrize("name", ["./model.bin", "./blob", "./sha256-0123abcd", "./x.json"])
def test_a_gguf_file_is_recognised_by_its_content(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (folder / name).write_bytes(b"GGUF\x03\0\0\0")
    monkeypatch.chdir(folder)
    [source] = reader.load_model_card(name).spec.sources  # type: ignore[union-attr]
    assert source.path == str(folder / Path(name).name)
    assert reader.is_model(name)


def test_the_link_to_a_part_of_a_model_keeps_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "blob").write_bytes(b"GGUF")
    name = "m-00001-of-00002.gguf"
    (folder / name).symlink_to(folder / "blob")
    monkeypatch.chdir(folder)
    [source] = reader.load_model_card(name).spec.sources  # type: ignore[union-attr]
    assert source.path == str(folder / name)


def test_models_and_architectures_are_distinguished(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for model in ("./card.json", CARD, "scripted"):
        assert reader.is_model(model)
    for architecture in ("./one.json", ARCHITECTURE, "single", "nowhere"):
        assert not reader.is_model(architecture)


def test_a_name_is_looked_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_folder", lambda kind: folder)
    loaded = reader.load_architecture("one", base_dir=Path("elsewhere"))
    assert loaded.file == "one"
    assert loaded.base_dir == folder


def test_errors_name_the_file_as_written(folder: Path) -> None:
    with pytest.raises(SpecError, match=r"^none\.json: no such file$"):
        reader.load_architecture("none.json", base_dir=folder)


def test_a_benchmark_card_is_loaded() -> None:
    card = {"version": 1, "name": "sums", "source": {"jsonl": "sums.jsonl"}}
    assert reader.load_benchmark(card).spec.name == "sums"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (ARCHITECTURE, "architecture"),
        (CARD, "model"),
        ({"source": {}}, "benchmark"),
        ({"nodes": {"a": {"samples": {"$int": [1, 8]}}}}, "space"),
        ({"nodes": {"a": {"$choice": [None, {}]}}}, "space"),
        ({}, "architecture"),
        ([], "architecture"),
        (None, "architecture"),
    ],
)
def test_the_keys_determine_the_kind(data: object, kind: str) -> None:
    assert reader.kind_of(data) == kind


def test_a_search_space_is_not_an_architecture() -> None:
    nodes = {"draft": {**ARCHITECTURE["nodes"]["draft"], "samples": {"$choice": [1, 4]}}}
    with pytest.raises(SpecError, match="is a search parameter, which is allowed only") as caught:
        reader.load_architecture({**ARCHITECTURE, "nodes": nodes})
    assert caught.value.path == "$.nodes.draft.samples"


def test_an_error_names_the_kind_of_a_wrong_file() -> None:
    with pytest.raises(SpecError, match="is a model card; expected an architecture"):
        reader.load_architecture(CARD)
    with pytest.raises(SpecError, match="is an architecture; expected a model card"):
        reader.load_model_card(ARCHITECTURE)


def test_an_unknown_version_is_reported_before_unknown_keys() -> None:
    with pytest.raises(SpecError, match="file format version 2 is not supported") as caught:
        reader.load_architecture({**ARCHITECTURE, "version": 2, "edges": []})
    assert caught.value.path == "$.version"


def test_a_list_is_not_an_architecture(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[]", encoding="utf-8")
    with pytest.raises(SpecError, match=r"\$: must be an object, not a list of 0"):
        reader.load_architecture(tmp_path / "list.json")


def test_data_that_contains_itself_is_refused() -> None:
    data: dict[str, Any] = dict(ARCHITECTURE)
    data["nodes"] = data
    with pytest.raises(SpecError, match="nested deeper"):
        reader.load_architecture(data)


@pytest.mark.parametrize("kind", ["architecture", "model", "benchmark"])
def test_schema_describes_a_kind(kind: str) -> None:
    schema = json.loads(json.dumps(reader.schema(kind)))
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "name" in json.dumps(schema)


def test_an_unknown_kind_of_schema_is_reported_with_the_valid_kinds() -> None:
    with pytest.raises(UsageError, match="did you mean 'model'"):
        reader.schema("modell")
