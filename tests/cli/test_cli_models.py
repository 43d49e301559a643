"""``archon models`` for strings, and ``--model`` without a role."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runner import Cli

from archon.spec.model import HubSource
from archon.spec.reader import load_model_card
from archon.weights import hub
from archon.weights.hub_records import HubRecord, write_hub_record
from archon.weights.hub_repository import Repository, RepositoryFile

QWEN3 = {
    "model_type": "qwen3", "num_hidden_layers": 28, "hidden_size": 1024, "num_attention_heads": 16,
    "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 3072, "vocab_size": 151936,
    "max_position_embeddings": 40960, "tie_word_embeddings": True,
}  # fmt: skip


def test_a_model_for_all_roles(cli: Cli) -> None:
    assert cli("run", "rank-fuse", "What is 2 + 3?", "--model", "scripted") == 0
    assert cli("run", "single", "What is 2 + 3?", "--model", "scripted", "--model", "scripted") == 2
    assert "two models for all roles" in cli.stderr
    assert cli("run", "single", "What is 2 + 3?", "--model", "scriptde") == 2
    assert "did you mean 'scripted', " in cli.stderr


def test_a_missing_key_is_reported_before_a_question_is_asked(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert cli("run", "single", "What is 2 + 3?", "--model", "openai/gpt-4o-mini") == 2
    assert "OPENAI_API_KEY is not set" in cli.stderr


def test_show_has_the_resolved_card_of_a_server(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    shown = cli.json("models", "show", "openai:gpt-4o-mini")
    assert shown["card"]["base_urls"] == ["https://api.openai.com/v1"]
    assert shown["path"] is None
    assert cli("models", "show", "openai:gpt-4o-mini") == 0
    assert "key: OPENAI_API_KEY" in cli.stderr


def test_show_describes_a_model_of_the_hub_without_downloading_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "config.json": RepositoryFile(700),
        "model.safetensors": RepositoryFile(1_503_300_328, "0" * 64),
    }
    template = "{% if enable_thinking %}<think>{% endif %}"
    repository = Repository("c" * 40, files, "apache-2.0", QWEN3, None, template, 751_632_384)
    monkeypatch.setattr(hub, "ask", lambda source, with_config: repository)
    shown = cli.json("models", "show", "hf:Qwen/Qwen3-0.6B")
    assert shown["card"]["sources"] == [{"huggingface": "Qwen/Qwen3-0.6B", "revision": "main"}]
    assert (shown["family"], shown["parameters"]) == ("qwen3", 751_632_384)
    assert (shown["bytes"], shown["context"]) == (1_503_300_328, 40960)
    assert (shown["license"], shown["thinking"]) == ("apache-2.0", "switchable")
    assert shown["chat_template"] == template
    per_sequence = 2 * 28 * 8 * 128 * 2 * shown["sequence_tokens"]
    weights = 751_632_384 + 2 * 151936 * 1024
    assert shown["memory_bytes"] == {
        "1": weights + per_sequence, "64": weights + 64 * per_sequence,
    }  # fmt: skip
    assert cli("models", "show", "hf:Qwen/Qwen3-0.6B") == 0
    for line in ("family: qwen3", "license: apache-2.0", "memory: about", "chat template: yes"):
        assert line in cli.stderr


def test_show_of_a_gguf_file_of_the_hub_has_the_memory_of_its_weights(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"m-Q4_K_M.gguf": RepositoryFile(807_694_464, "0" * 64)}
    keys = {"architecture": "llama", "context_length": 131072, "total": 1_235_814_432}
    repository = Repository("c" * 40, files, "llama3.2", None, keys, "{{ messages }}")
    monkeypatch.setattr(hub, "ask", lambda source, with_config: repository)
    monkeypatch.setattr(hub, "present", lambda source: None)
    shown = cli.json("models", "show", "hf:o/m-GGUF:Q4_K_M")
    assert (shown["bytes"], shown["memory_bytes"]) == (807_694_464, None)
    assert shown["weights_memory_bytes"] == 1_235_814_432
    assert cli("models", "show", "hf:o/m-GGUF:Q4_K_M") == 0
    assert "memory: at least 1236 MB for the weights" in cli.stderr
    card = {**shown["card"], "precision": "native"}
    Path("native.json").write_text(json.dumps(card))
    assert cli.json("models", "show", "./native.json")["weights_memory_bytes"] == 807_694_464


def test_show_describes_a_model_that_another_program_downloaded(
    cli: Cli, tiny_chat_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "present", lambda source: tiny_chat_file)
    shown = cli.json("models", "show", "hf:o/m-GGUF:Q4_K_M")
    assert (shown["family"], shown["path"]) == ("qwen2", str(tiny_chat_file))


def test_show_and_validate_need_no_address_of_azure(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    shown = cli.json("models", "show", "azure:mine")
    assert shown["card"]["provider"] == "azure"
    assert "base_urls" not in shown["card"]
    assert cli("models", "show", "azure:mine") == 0
    assert "set the environment variable AZURE_OPENAI_ENDPOINT" in cli.stderr
    Path("azure.json").write_text(cli.stdout)
    assert cli("validate", "azure.json") == 0
    assert cli("run", "single", "What is 2 + 3?", "--model", "./azure.json") == 2
    assert "set the environment variable AZURE_OPENAI_ENDPOINT" in cli.stderr
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://me.openai.azure.com")
    shown = cli.json("models", "show", "./azure.json")
    assert shown["card"]["base_urls"] == ["https://me.openai.azure.com/openai/v1"]


def test_show_of_what_does_not_exist_says_so(cli: Cli) -> None:
    assert "missing.gguf does not exist" in cli.json("models", "show", "./missing.gguf")["note"]
    assert cli("models", "show", "./missing") == 2
    assert "./missing: no such file" in cli.stderr
    assert cli("models", "show", "o/n/file") == 2
    assert "did you mean 'hf:o/n:file' or 'openrouter:o/n/file' or './o/n/file'?" in cli.stderr
    assert cli("models", "show", "opneai:gpt-4o") == 2
    assert "'openai:gpt-4o', 'ollama:opneai:gpt-4o' or 'hf:OWNER/gpt-4o'?" in cli.stderr


def test_show_has_the_card_without_a_network(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    shown = cli.json("models", "show", "Qwen/Qwen3-0.6B")
    assert shown["card"]["name"] == "Qwen/Qwen3-0.6B"
    assert (shown["family"], shown["memory_bytes"]) == (None, None)
    assert "HF_HUB_OFFLINE" in shown["note"]


def test_show_describes_files(cli: Cli, tiny_chat_file: Path) -> None:
    shown = cli.json("models", "show", str(tiny_chat_file))
    assert (shown["family"], shown["path"]) == ("qwen2", str(tiny_chat_file))
    assert shown["bytes"] == tiny_chat_file.stat().st_size
    assert shown["memory_bytes"]["64"] > shown["memory_bytes"]["1"] > 0
    assert shown["chat_template"]


def test_show_says_that_a_model_gets_text_only(cli: Cli) -> None:
    folder = Path("model")
    folder.mkdir()
    config = {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}}
    (folder / "config.json").write_text(json.dumps(config))
    names = ("vision_tower.w", "language_model.model.layers.0.w")
    rows = {
        name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [24 * i, 24 * i + 24]}
        for i, name in enumerate(names)
    }
    header = json.dumps(rows).encode()
    data = len(header).to_bytes(8, "little") + header + bytes(48)
    (folder / "model.safetensors").write_bytes(data)
    shown = cli.json("models", "show", "./model")
    assert (shown["text_only"], shown["parameters"], shown["context"]) == (True, 6, 131_072)
    assert cli("models", "show", "./model") == 0
    assert "input: text only" in cli.stderr


def test_show_describes_a_folder(cli: Cli) -> None:
    folder = Path("model")
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(QWEN3))
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    data = len(header).to_bytes(8, "little") + header + bytes(24)
    (folder / "model.safetensors").write_bytes(data)
    named = [{"name": "default", "template": "{{ '</think>' }}"}, {"name": "tool", "template": ""}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    shown = cli.json("models", "show", "./model")
    assert (shown["family"], shown["parameters"], shown["thinking"]) == ("qwen3", 6, "always")
    (folder / "model.safetensors").write_bytes(b"damaged")
    assert "safetensors" in cli.json("models", "show", "./model")["note"]


@pytest.mark.parametrize(("window", "num_cached"), [(None, 1024), (100, 128), (4096, 1024)])
def test_memory_counts_only_tokens_within_sliding_windows(
    window: int | None, num_cached: int, cli: Cli, tmp_path: Path
) -> None:
    """Half of the layers have the window. It needs blocks of 16 tokens for 99 tokens and one."""
    config = QWEN3 | {"use_sliding_window": True, "sliding_window": window, "max_window_layers": 14}
    (tmp_path / "config.json").write_text(json.dumps(config))
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    data = len(header).to_bytes(8, "little") + header + bytes(24)
    (tmp_path / "model.safetensors").write_bytes(data)
    memory = cli.json("models", "show", str(tmp_path))["memory_bytes"]
    per_token = 2 * 28 * 8 * 128 * 2
    assert memory["64"] - memory["1"] == 63 * per_token * (1024 + num_cached) // 2


def test_ls_shows_the_digest_of_a_first_download(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHON_CACHE", str(tmp_path / "cache"))
    source = HubSource(huggingface="o/n-GGUF", file="Q8_0")
    digest, path = "d" * 64, tmp_path / "n.gguf"
    record = HubRecord(
        "o/n-GGUF", "Q8_0", "main", "c" * 40, "n-Q8_0.gguf", digest, 5_000_000, str(path)
    )
    write_hub_record(source, record)
    row = cli.json("models", "ls")["models"][-1]
    assert (row["name"], row["sha256"], row["commit"]) == ("hf:o/n-GGUF:Q8_0", digest, "c" * 40)
    assert row["path"] is None
    assert cli("models", "ls") == 0
    assert f"hf:o/n-GGUF:Q8_0  5 MB       {'c' * 12}  {digest[:16]}" in cli.stdout
    assert cli("models", "rm", "hf:o/n-GGUF:Q8_0") == 0
    assert cli.json("models", "ls")["models"][-1]["name"] != row["name"]


@pytest.mark.parametrize("arguments", [["pull", "openai:m"], ["rm", "http://localhost:1/v1"]])
def test_a_server_has_no_weights(arguments: list[str], cli: Cli) -> None:
    assert cli("models", *arguments) == 2
    assert "choose a local model" in cli.stderr


@pytest.mark.parametrize("string", ["groq:m", "hf:o/n-GGUF:Q8_0", "http://localhost:1/v1#m"])
def test_a_printed_card_can_be_saved_and_used(
    string: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert cli("models", "show", string) == 0
    Path("card.json").write_text(cli.stdout)
    assert load_model_card("./card.json").spec == load_model_card(string).spec
