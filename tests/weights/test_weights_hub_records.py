"""Models of the hub without a digest: choice of the file, the first download, and changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_doubles import FakeHub, running_hub

from archon import weights
from archon.errors import ModelError
from archon.spec.model import LocalCard
from archon.spec.reader import load_model_card
from archon.weights.hub_records import all_recorded
from archon.weights.hub_repository import model_file

GGUF = {
    "README.md": b"# A model",
    "tiny-Q2_K.gguf": b"two bits",
    "tiny-Q4_K_M.gguf": b"four bits",
    "tiny-Q8_0.gguf": b"eight bits",
}
FOLDER = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "model.safetensors": b"weights",
    "consolidated.safetensors": b"the same weights in another layout",
    "README.md": b"# A model",
}
NEW_COMMIT = "b" * 40


def test_the_client_runs_in_a_child_process(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abc")
    with running_hub(tmp_path / "hub", monkeypatch, in_process=False) as running:
        running.publish("owner/tiny-GGUF", dict(GGUF))
        path = weights.pull(card("hf:owner/tiny-GGUF"), tmp_path)
        assert path.read_bytes() == GGUF["tiny-Q4_K_M.gguf"]
        with_token = {request for request, token in running.tokens.items() if token}
        assert with_token >= {each for each in running.requests if "owner/tiny-GGUF" in each}
        assert set(running.tokens.values()) == {None, "Bearer hf_abc"}


@pytest.fixture
def hub(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with running_hub(tmp_path / "hub", monkeypatch) as running:
        running.publish("owner/tiny-GGUF", dict(GGUF))
        running.publish("owner/tiny", dict(FOLDER))
        yield running


def card(string: str) -> LocalCard:
    spec = load_model_card(string).spec
    assert isinstance(spec, LocalCard)
    return spec


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("string", "file"),
    [
        ("hf:owner/tiny-GGUF", "tiny-Q4_K_M.gguf"),
        ("hf:owner/tiny-GGUF:q8_0", "tiny-Q8_0.gguf"),
        ("owner/tiny-GGUF:tiny-Q2_K.gguf", "tiny-Q2_K.gguf"),
        (f"owner/tiny-GGUF:Q2_K@{'a' * 40}", "tiny-Q2_K.gguf"),
    ],
)
def test_the_digest_of_the_first_download_is_recorded(
    string: str, file: str, hub: FakeHub, tmp_path: Path
) -> None:
    path = weights.pull(card(string), tmp_path)
    assert path.read_bytes() == GGUF[file]
    (record,) = all_recorded()
    assert (record.commit, record.file, record.sha256) == ("a" * 40, file, sha256(GGUF[file]))
    assert f"hf:{record.name}" in (string, f"hf:{string}")
    assert weights.identity(card(string), path) == record.sha256
    hub.requests.clear()
    assert weights.find(card(string), tmp_path) == path
    assert weights.pull(card(string), tmp_path, verify=True) == path
    assert hub.requests == []


def test_a_folder_is_downloaded_without_other_copies_of_its_weights(
    hub: FakeHub, tmp_path: Path
) -> None:
    path = weights.pull(card("hf:owner/tiny"), tmp_path)
    names = {"config.json", "tokenizer.json", "model.safetensors"}
    assert {file.name for file in path.iterdir()} == names
    (record,) = all_recorded()
    assert (record.file, record.path) == (None, str(path))
    assert weights.find(card("hf:owner/tiny"), tmp_path) == path


def test_a_moved_branch_with_other_weights_is_an_error_until_it_is_accepted(
    hub: FakeHub, tmp_path: Path
) -> None:
    model = card("hf:owner/tiny-GGUF")
    old = weights.pull(model, tmp_path)
    forget(old)
    hub.publish("owner/tiny-GGUF", GGUF | {"tiny-Q4_K_M.gguf": b"better"}, NEW_COMMIT)
    with pytest.raises(ModelError) as caught:
        weights.pull(model, tmp_path)
    message = str(caught.value)
    for part in (
        "revision 'main' changed", sha256(GGUF["tiny-Q4_K_M.gguf"]), "a" * 40, sha256(b"better"),
        NEW_COMMIT, f"hf:owner/tiny-GGUF@{'a' * 40}", "archon models rm hf:owner/tiny-GGUF",
    ):  # fmt: skip
        assert part in message
    assert [each for each in hub.requests if "download" in each] == ["download tiny-Q4_K_M.gguf"]
    weights.remove(model)
    assert weights.pull(model, tmp_path).read_bytes() == b"better"
    assert all_recorded()[0].commit == NEW_COMMIT


def test_a_moved_branch_with_the_same_weights_is_accepted(hub: FakeHub, tmp_path: Path) -> None:
    model = card("hf:owner/tiny-GGUF")
    forget(weights.pull(model, tmp_path))
    hub.publish("owner/tiny-GGUF", GGUF | {"README.md": b"new"}, NEW_COMMIT)
    path = weights.pull(model, tmp_path)
    assert NEW_COMMIT in str(path)
    assert all_recorded()[0].commit == NEW_COMMIT


def test_a_changed_folder_is_an_error(hub: FakeHub, tmp_path: Path) -> None:
    model = card("hf:owner/tiny")
    folder = weights.pull(model, tmp_path)
    for file in folder.iterdir():
        forget(file)
    hub.publish("owner/tiny", FOLDER | {"config.json": b"{}"}, NEW_COMMIT)
    for _ in range(2):
        with pytest.raises(ModelError, match="revision 'main' changed"):
            weights.pull(model, tmp_path)


def test_a_file_that_changed_on_disk_is_an_error(hub: FakeHub, tmp_path: Path) -> None:
    model = card("hf:owner/tiny-GGUF:Q8_0")
    path = weights.pull(model, tmp_path)
    path.resolve().write_bytes(b"damaged weights")
    assert weights.find(model, tmp_path) is None
    with pytest.raises(ModelError, match="the files changed: digest") as caught:
        weights.pull(model, tmp_path)
    assert f"delete {path}" in str(caught.value)
    forget(path)
    assert weights.pull(model, tmp_path).read_bytes() == GGUF["tiny-Q8_0.gguf"]


def test_a_download_of_another_program_is_found_without_a_network(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    path = weights.pull(card("hf:owner/tiny-GGUF:Q8_0"), tmp_path)
    folder = weights.pull(card("hf:owner/tiny"), tmp_path)
    for name in ("hf:owner/tiny-GGUF:Q8_0", "hf:owner/tiny"):
        weights.remove(card(name))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert weights.pull(card("owner/tiny-GGUF:q8_0"), tmp_path) == path
    assert weights.pull(card("owner/tiny"), tmp_path) == folder
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        weights.pull(card("owner/tiny-GGUF:Q2_K"), tmp_path)


def test_other_cards_of_the_same_model_share_the_record(hub: FakeHub, tmp_path: Path) -> None:
    path = weights.pull(card("hf:owner/tiny-GGUF"), tmp_path)
    source = {"huggingface": "owner/tiny-GGUF"}
    other = LocalCard.model_validate({"name": "other", "backend": "local", "sources": [source]})
    assert weights.find(other, tmp_path) is None
    assert weights.find_anywhere(other, tmp_path) == path
    hub.requests.clear()
    assert weights.pull(other, tmp_path) == path
    assert hub.requests == []


def forget(path: Path) -> None:
    """Delete a file and its blob from the hub's cache."""
    path.resolve().unlink()
    path.unlink()


# ------------------------------------------------------------------------------- choice of a file

MANY = [
    "a-Q4_K_M.gguf", "a-Q4_K_S.gguf", "a-UD-Q4_K_M.gguf", "a-IQ4_XS.gguf", "mmproj-a-F16.gguf",
    "BF16/a-BF16-00001-of-00002.gguf", "BF16/a-BF16-00002-of-00002.gguf", "a.imatrix.gguf",
]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, "a-Q4_K_M.gguf"),
        ("q4_k_m", "a-Q4_K_M.gguf"),
        ("Q4_K_S", "a-Q4_K_S.gguf"),
        ("UD-Q4_K_M", "a-UD-Q4_K_M.gguf"),
        ("iq4_xs", "a-IQ4_XS.gguf"),
        ("bf16", "BF16/a-BF16-00001-of-00002.gguf"),
        ("A-Q4_K_S", "a-Q4_K_S.gguf"),
        ("BF16/a-BF16-00002-of-00002.gguf", "BF16/a-BF16-00002-of-00002.gguf"),
    ],
)
def test_a_quantization_names_one_file(wanted: str | None, expected: str) -> None:
    assert model_file(MANY, wanted) == expected


@pytest.mark.parametrize(
    ("files", "wanted", "said"),
    [
        (MANY, "Q3_K_M", r"has no file 'Q3_K_M'; there is: BF16/.*a-Q4_K_M\.gguf"),
        (MANY, "F16", "has no file 'F16'"),
        (MANY, "Q4_K", r"fits several files; name one of: a-Q4_K_M\.gguf, a-Q4_K_S\.gguf"),
        (["a-0.5b-q8_0.gguf", "a-7b-q8_0.gguf"], "Q8_0", "fits several files"),
        (["a-Q2_K.gguf", "a-Q8_0.gguf"], None, r"none of them Q4_K_M; .*a-Q2_K\.gguf, a-Q8_0"),
        (["config.json", "model.safetensors"], "Q8_0", "no GGUF file at all"),
    ],
)
def test_an_unclear_choice_lists_the_files(files: list[str], wanted: str | None, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        model_file(files, wanted)


def test_the_folder_or_the_only_file_is_the_default() -> None:
    assert model_file(["config.json", "model.safetensors", "a-Q4_K_M.gguf"], None) is None
    assert model_file(["README.md", "a-Q8_0.gguf", "mmproj-a.gguf"], None) == "a-Q8_0.gguf"
