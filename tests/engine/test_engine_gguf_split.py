"""Split GGUF models: any part opens the model, or the error names what is missing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import TinyModel, tiny_weights, write_gguf

from archon.engine.files.gguf import GGUFFile
from archon.engine.model.weights import weights_of
from archon.errors import ModelFileError

MODEL = TinyModel("llama", num_layers=3)
TENSORS = list(tiny_weights(MODEL))
COUNT = 3


def name_of(part: int, count: int = COUNT) -> str:
    return f"m-{part:05d}-of-{count:05d}.gguf"


def write_part(path: Path, index: int, **keys: Any) -> None:
    """Write part ``index`` of the model with every third tensor; only the first has all keys."""
    without = tuple(name for i, name in enumerate(TENSORS) if i % COUNT != index)
    split = {"split.no": index, "split.count": COUNT, "split.tensors.count": len(TENSORS)}
    if index:
        split |= {"llama.block_count": None, "tokenizer.ggml.tokens": None}
    metadata = {key.replace("__", "."): value for key, value in keys.items()}
    write_gguf(path, TinyModel("llama", num_layers=3, without=without, metadata=split | metadata))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(COUNT):
        write_part(tmp_path / name_of(index + 1), index)
    write_gguf(tmp_path / "whole.gguf", MODEL)
    return tmp_path


@pytest.mark.parametrize("part", range(1, COUNT + 1))
def test_any_part_opens_the_whole_model(part: int, folder: Path) -> None:
    split, whole = GGUFFile(folder / name_of(part)), GGUFFile(folder / "whole.gguf")
    assert split.tensors.keys() == whole.tensors.keys()
    assert all(torch.equal(split.tensor(name), whole.tensor(name)) for name in TENSORS)
    assert whole.metadata.items() <= split.metadata.items()
    ours, expected = weights_of(split), weights_of(whole)
    assert ours.config == expected.config
    assert torch.equal(ours.layer(2).down, expected.layer(2).down)


def test_parts_need_no_suffix(folder: Path) -> None:
    for index in range(COUNT):
        path = folder / name_of(index + 1)
        path.rename(path.with_suffix(""))
    assert len(GGUFFile(folder / "m-00002-of-00003").tensors) == len(TENSORS)


@pytest.mark.parametrize("missing", [[1], [3], [1, 3]])
def test_every_missing_part_is_named(missing: list[int], folder: Path) -> None:
    for part in missing:
        (folder / name_of(part)).unlink()
    with pytest.raises(ModelFileError) as error:
        GGUFFile(folder / name_of(2))
    assert str(error.value).endswith(", ".join(map(name_of, missing)))
    assert f"split into 3 files, and {folder} lacks {len(missing)} of them" in str(error.value)


def test_only_the_first_missing_parts_are_named(folder: Path) -> None:
    write_part(folder / name_of(1, 90_000), 0, split__count=90_000)
    with pytest.raises(ModelFileError, match=r"lacks 89999 of them: .*, …$") as error:
        GGUFFile(folder / name_of(1, 90_000))
    assert len(str(error.value)) < 2000


def test_an_error_for_a_renamed_part_names_the_expected_name(folder: Path) -> None:
    shutil.copy(folder / name_of(2), folder / "other.gguf")
    with pytest.raises(ModelFileError, match=r"part 2 of 3.* must end in -00002-of-00003\.gguf"):
        GGUFFile(folder / "other.gguf")
    shutil.copy(folder / name_of(2), folder / name_of(1))
    with pytest.raises(ModelFileError, match=r"00001-of-00003\.gguf: .*it is part 2 of 3"):
        GGUFFile(folder / name_of(3))


def test_parts_of_different_models_are_rejected(folder: Path) -> None:
    write_part(folder / name_of(3), 2, split__count=4)
    with pytest.raises(ModelFileError, match=r"00003-of-00003\.gguf: .*part 3 of 4"):
        GGUFFile(folder / name_of(1))
    write_part(folder / name_of(3), 1, split__no=2)
    with pytest.raises(ModelFileError, match="is in two parts"):
        GGUFFile(folder / name_of(1))
    write_part(folder / name_of(3), 2)
    write_part(folder / name_of(1), 0, split__tensors__count=len(TENSORS) + 1)
    with pytest.raises(ModelFileError, match=f"have {len(TENSORS)} tensors, not"):
        GGUFFile(folder / name_of(2))


@pytest.mark.parametrize(
    "keys",
    [
        {"split__no": 3},
        {"split__no": "one"},
        {"split__count": [1]},
        {"split__count": 1 << 31},
    ],
)
def test_invalid_split_keys_are_rejected(keys: dict[str, Any], folder: Path) -> None:
    write_part(folder / name_of(1), 0, **keys)
    with pytest.raises(ModelFileError, match=r"damaged GGUF file: split\.no is"):
        GGUFFile(folder / name_of(1))


@pytest.mark.parametrize("count", [0, 1])
def test_a_merged_file_is_complete(count: int, tmp_path: Path) -> None:
    keys = {"split.no": 0, "split.count": count, "split.tensors.count": len(TENSORS)}
    write_gguf(tmp_path / "m.gguf", TinyModel("llama", num_layers=3, metadata=keys))
    assert len(GGUFFile(tmp_path / "m.gguf").tensors) == len(TENSORS)
