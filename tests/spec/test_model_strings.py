"""Model strings: what each form means, and the nearest interpretations of other text."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from archon.errors import SpecError
from archon.spec import model_strings
from archon.spec.model import HubSource, LocalCard, OpenAICard
from archon.spec.model_strings import CardFile, Resolved, Shipped, Weights
from archon.spec.providers import PROVIDERS
from archon.spec.reader import is_model, load_model_card

VARIABLES = {name for row in PROVIDERS.values() for name in (*row.keys, row.url_variable) if name}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def local(string: str, folder: Path) -> tuple[str, HubSource]:
    card = load_model_card(string, folder).spec
    assert isinstance(card, LocalCard)
    (source,) = card.sources
    assert isinstance(source, HubSource)
    return card.name, source


def remote(string: str, folder: Path) -> OpenAICard:
    card = load_model_card(string, folder).spec
    assert isinstance(card, OpenAICard)
    return card


# -------------------------------------------------------------------------------------------- hub


@pytest.mark.parametrize(
    ("string", "repository", "file", "revision"),
    [
        ("hf:Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", None, "main"),
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", None, "main"),
        ("hf:o/n-GGUF:Q4_K_M", "o/n-GGUF", "Q4_K_M", "main"),
        ("o/n-GGUF:n-q4_k_m.gguf", "o/n-GGUF", "n-q4_k_m.gguf", "main"),
        ("hf:o/n:sub/n-00001-of-00002.gguf", "o/n", "sub/n-00001-of-00002.gguf", "main"),
        ("hf:o/n@v1.0", "o/n", None, "v1.0"),
        ("hf:o/n@refs/pr/1", "o/n", None, "refs/pr/1"),
        ("hf:o/n:Q8_0@v1.0", "o/n", "Q8_0", "v1.0"),
        ("hf:o/n@v1.0:Q8_0", "o/n", "Q8_0", "v1.0"),
        ("https://huggingface.co/o/n", "o/n", None, "main"),
        ("https://huggingface.co/o/n/tree/v2", "o/n", None, "v2"),
        ("https://huggingface.co/o/n/blob/main/n.gguf", "o/n", "n.gguf", "main"),
        ("hf.co/o/n:Q8_0", "o/n", "Q8_0", "main"),
        ("hf:openai/gpt-oss-20b", "openai/gpt-oss-20b", None, "main"),
    ],
)
def test_strings_of_the_hub(
    string: str, repository: str, file: str | None, revision: str, tmp_path: Path
) -> None:
    name, source = local(string, tmp_path)
    assert source == HubSource(huggingface=repository, file=file, revision=revision)
    # The name is a string with the same meaning.
    assert local(f"hf:{name}", tmp_path)[1] == source


@pytest.mark.parametrize(
    "string", ["hf:gpt2", "hf:", "hf:a/b/c", "hf:o/n:", "hf:o/n@", "hf:o/n:a:b"]
)
def test_an_invalid_string_of_the_hub_is_an_error_with_examples(
    string: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match="hf:owner/name:Q4_K_M"):
        load_model_card(string, tmp_path)


# ------------------------------------------------------------------------------------------ paths


def test_a_path_that_exists_is_not_read_as_a_repository(tmp_path: Path) -> None:
    folder = tmp_path / "Qwen" / "Qwen3-0.6B"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    card = load_model_card("Qwen/Qwen3-0.6B", tmp_path).spec
    assert isinstance(card, LocalCard)
    assert (card.name, card.sources[0].model_dump()["path"]) == ("Qwen3-0.6B", str(folder))
    assert isinstance(local("hf:Qwen/Qwen3-0.6B", tmp_path)[1], HubSource)


def test_the_home_folder_can_be_abbreviated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "card.json").write_text('{"name": "fake", "backend": "scripted"}')
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    elsewhere = tmp_path / "elsewhere"
    assert load_model_card("~/card.json", elsewhere).spec.name == "fake"
    assert model_strings.read("~/m.gguf", elsewhere) == Weights(tmp_path / "m.gguf")


@pytest.mark.parametrize(
    ("string", "kind"),
    [
        ("qwen2.5-coder-0.5b", Shipped),
        ("./card.json", CardFile),
        ("cards/card.json", CardFile),
        ("a/b/c", CardFile),
        ("model.gguf", Weights),
        ("folder/model.gguf", Weights),
        ("/models/model.GGUF", Weights),
        ("owner/name", Resolved),
        ("ollama/library/llama3", Resolved),
    ],
)
def test_the_form_decides_where_no_file_exists(string: str, kind: type, tmp_path: Path) -> None:
    assert isinstance(model_strings.read(string, tmp_path), kind)
    assert model_strings.is_path(string, tmp_path) == (kind in (CardFile, Weights))


def test_a_path_object_is_always_a_path(tmp_path: Path) -> None:
    assert isinstance(model_strings.read(Path("owner/name"), tmp_path), CardFile)


def test_a_missing_card_names_similar_files(tmp_path: Path) -> None:
    (tmp_path / "solver.json").write_text("{}")
    with pytest.raises(SpecError, match=r"\./slover\.json: no such file; .*'solver\.json'"):
        load_model_card("./slover.json", tmp_path)


# ---------------------------------------------------------------------------------------- servers


@pytest.mark.parametrize("provider", sorted(set(PROVIDERS) - {"azure"}))
@pytest.mark.parametrize("separator", [":", "/"])
def test_every_provider_has_a_string(provider: str, separator: str, tmp_path: Path) -> None:
    card = remote(f"{provider}{separator}some/model:tag", tmp_path)
    row = PROVIDERS[provider]
    assert (card.name, card.model) == (f"{provider}:some/model:tag", "some/model:tag")
    assert card.base_urls == [row.base_url]
    assert card.api_key_env == (row.keys[0] if row.needs_key else None)


@pytest.mark.parametrize(
    ("string", "address", "model"),
    [
        ("http://localhost:1234/v1#llama", "http://localhost:1234/v1", "llama"),
        ("https://host.example/api/v1#a/b", "https://host.example/api/v1", "a/b"),
        ("http://localhost:1234", "http://localhost:1234/v1", None),
        ("http://localhost:1234/", "http://localhost:1234/v1", None),
        ("http://localhost:1234/v1", "http://localhost:1234/v1", None),
    ],
)
def test_addresses_of_servers(string: str, address: str, model: str | None, tmp_path: Path) -> None:
    card = remote(string, tmp_path)
    assert (card.name, card.base_urls, card.model) == (string, [address], model)


def test_a_local_server_needs_no_model_and_a_hosted_one_does(tmp_path: Path) -> None:
    assert remote("llamacpp:", tmp_path).model is None
    with pytest.raises(SpecError, match="write openai:MODEL"):
        load_model_card("openai:", tmp_path)


# ---------------------------------------------------------------------------- everything else


@pytest.mark.parametrize(
    ("string", "meant"),
    [
        ("qwen2.5-coder-05b", "'qwen2.5-coder-0.5b'"),
        ("opeani:gpt-4o", "'openai:gpt-4o'"),
        ("qwen3:0.6b", "'ollama:qwen3:0.6b'"),
        ("my-modle", r"'\./my-model\.gguf'"),
        ("zzz", r"'ollama:zzz', 'hf:OWNER/zzz' or '\./zzz'"),
    ],
)
def test_an_unknown_name_lists_the_three_nearest_interpretations(
    string: str, meant: str, tmp_path: Path
) -> None:
    (tmp_path / "my-model.gguf").write_bytes(b"GGUF")
    with pytest.raises(SpecError, match=f"did you mean .*{meant}") as caught:
        load_model_card(string, tmp_path)
    assert len(model_strings.suggestions(string, tmp_path)) == 3
    assert f"no model '{string}' in the catalogue, and no such file" in str(caught.value)


@pytest.mark.parametrize(
    "string", ["", "\0", "a/\0b", "a" * 5000, "☃/☃", "hf:\n/x", "//", ":", "a:"]
)
def test_hostile_strings_are_errors_or_paths(string: str, tmp_path: Path) -> None:
    with suppress(SpecError):
        load_model_card(string, tmp_path)


def test_a_key_in_a_string_is_not_printed(tmp_path: Path) -> None:
    key = "sk-proj-0123456789abcdef"
    with pytest.raises(SpecError, match="looks like a key") as caught:
        load_model_card(f"openai:{key}", tmp_path)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    ("string", "expected"),
    [
        ("self-consistency", False),
        ("qwen2.5-coder-0.5b", True),
        ("hf:owner/name", True),
        ("openai/gpt-4o-mini", True),
        ("http://localhost:1/v1", True),
        ("no-such-thing", False),
    ],
)
def test_models_are_distinguished_from_architectures(
    string: str, expected: bool, tmp_path: Path
) -> None:
    assert is_model(string, tmp_path) == expected
