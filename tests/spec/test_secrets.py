"""Keys pasted in place of a name are rejected and never printed."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from archon.cli.main import main
from archon.errors import SpecError, UsageError
from archon.lm.credentials import key_from
from archon.spec.messages import json_path, shown
from archon.spec.model import ModelCard, OpenAICard
from archon.spec.reader import load_architecture, load_model_card
from archon.spec.secrets import check_variable, looks_like_key, mask_known_keys

KEYS = [
    "sk-0123456789abcdef0123456789abcdef",
    "sk-proj-AbCdEf_0123456789-AbCdEfGhIj",
    "sk-or-v1-" + "0123456789abcdef" * 4,
    "sk-" + "x1" * 150,
    "hf_QwErTyUiOpAsDfGhJkLzXcVbNm",
    "gsk_0123456789abcdefABCDEF0123456789",
    "AIzaSyA0123456789abcdefghijklmnopqrstu",
    "AKIAIOSFODNN7EXAMPLE",
    "0123456789abcdef0123456789abcdef",
    "f0e1d2c3b4a5968778695a4b3c2d1e0f",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "Bearer sk-0123456789abcdef",
    "a key with spaces 0123456789",
    "$MY_SECRET_NAME",
    "9LIVES",
    "",
]
NAMES = ["OPENAI_API_KEY", "VLLM_API_KEY", "AZURE_OPENAI_KEY_EASTUS2", "HF_TOKEN", "my_key", "K2",
         "_KEY", "SK_GATEWAY_TOKEN_V2", "hf_token_for_reading", "MyCompanyKey"]  # fmt: skip
CARD: dict[str, Any] = {
    "version": 1, "name": "far", "backend": "openai", "base_urls": ["http://a/v1"], "model": "m",
}  # fmt: skip


def secret_of(key: str) -> str:
    """A piece of the key that must not appear anywhere."""
    return key[-12:] if len(key) >= 12 else key


@pytest.mark.parametrize("name", NAMES)
def test_names_of_variables_are_accepted(name: str) -> None:
    assert check_variable(name) == name
    assert OpenAICard.model_validate({**CARD, "api_key_env": name}).api_key_env == name


@pytest.mark.parametrize("key", KEYS)
def test_a_key_in_place_of_a_name_is_rejected_and_never_shown(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = {**CARD, "api_key_env": key}
    printed: list[str] = []
    for validated in (OpenAICard.model_validate, TypeAdapter(ModelCard).validate_python):
        with pytest.raises(ValidationError) as invalid:
            validated(card)
        printed.append(f"{invalid.value}" if validated == OpenAICard.model_validate else "")
    file = tmp_path / "card.json"
    file.write_text(json.dumps(card))
    with pytest.raises(SpecError, match="environment variable") as rejected:
        load_model_card(file)
    assert rejected.value.path == "$.api_key_env"
    printed.append(f"{rejected.value} {rejected.value!r}")
    node = {"type": "generator", "model": "solver"}
    inline = {"version": 1, "name": "a", "models": {"solver": card}, "nodes": {"draft": node}}
    with pytest.raises(SpecError, match="environment variable") as rejected:
        load_architecture({**inline, "output": "draft"})
    printed.append(f"{rejected.value} {rejected.value!r}")
    assert main(["validate", str(file)]) == 2
    printed += capsys.readouterr()
    assert main(["validate", str(file), "--json"]) == 2
    printed += capsys.readouterr()
    with pytest.raises(UsageError) as unusable:
        key_from(key)
    printed.append(f"{unusable.value} {unusable.value!r}")
    if key:
        assert all(secret_of(key) not in text for text in printed)
    assert any("environment variable" in text for text in printed)


@pytest.mark.parametrize("key", KEYS[:8])
def test_a_key_elsewhere_in_a_file_is_masked_in_errors(key: str) -> None:
    assert secret_of(key) not in shown(key)
    assert "[key]" in shown(key)
    with pytest.raises(SpecError) as rejected:
        load_model_card({**CARD, "base_urls": [key]})
    assert secret_of(key) not in str(rejected.value)


@pytest.mark.parametrize("text", ["generater", "risk-averse", "a-b-c", "hf_", "task-1", "desk-top"])
def test_ordinary_values_are_shown(text: str) -> None:
    assert mask_known_keys(text) == text
    assert not looks_like_key(text)


# ------------------------------------------------------------------- keys anywhere in a card

HEX = "f0e1d2c3b4a5968778695a4b3c2d1e0f"
PROJECT = "sk-proj-AbCdEf0123456789AbCdEfGhIj"
LONG = "x" * 48 + "-"
"""Text before a key, so long that shortening the value cuts the key in the middle."""
PLACES: list[dict[str, Any]] = [
    {"base_urls": ["KEY"]},
    {"base_urls": "KEY"},
    {"omit": ["KEY"]},
    {"omit": "KEY"},
    {"constraint": "KEY"},
    {"backend": "KEY"},
    {"backend": {"KEY": 1}},
    {"version": "KEY"},
    {"timeout_seconds": "KEY"},
    {"max_concurrency": "KEY"},
    {"endpoint": "KEY"},
    {"trust_env": "KEY"},
    {"thinking": "KEY"},
    {"thinking_field": "KEY"},
    {"KEY": "x"},
    {"KEY": {"KEY": "KEY"}},
    {"sampling": {"KEY": 1}},
    {"sampling": {"stop": "KEY"}},
    {"headers": "KEY"},
    {"headers": {"KEY": "x"}},
    {"headers": {"a b": "KEY"}},
    {"headers": {"authorization": "KEY"}},
    {"headers": {"x-mine": {"KEY": "KEY"}}},
    {"headers": {"x-mine": {"env": "KEY"}}},
    {"headers": {"x-mine": 5, "KEY": 5}},
    {"body": "KEY"},
    {"body": {"api_key": "KEY"}},
    {"body": {"extra": [{"deep": {"deeper": "KEY"}}]}},
    {"body": {"KEY": 1}},
    {"body": {"model": "KEY"}},
]


def placed(value: Any, key: str) -> Any:
    """Return the value with the key instead of ``KEY``."""
    if isinstance(value, dict):
        return {placed(name, key): placed(inner, key) for name, inner in value.items()}
    if isinstance(value, list):
        return [placed(inner, key) for inner in value]
    return value.replace("KEY", key) if isinstance(value, str) else value


def hidden(text: str, key: str) -> bool:
    """Return True if the text contains no piece of the key."""
    return not any(key[at : at + 8] in text for at in range(4, len(key) - 8))


@pytest.mark.parametrize("key", [HEX, PROJECT, LONG + HEX, LONG + PROJECT])
@pytest.mark.parametrize("changes", PLACES, ids=str)
def test_a_key_anywhere_in_a_card_is_never_printed(
    changes: dict[str, Any], key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = {**CARD, **placed(changes, key)}
    node = {"type": "generator", "model": "solver"}
    inline = {"version": 1, "name": "a", "models": {"solver": card}, "nodes": {"draft": node}}
    secret = key.removeprefix(LONG)
    for data in (card, {**inline, "output": "draft"}):
        file = tmp_path / "file.json"
        file.write_text(json.dumps(data))
        for arguments in (["validate", str(file)], ["validate", str(file), "--json"]):
            assert main(arguments) == 2
            printed = "".join(capsys.readouterr())
            assert printed
            assert hidden(printed, secret), printed


def test_a_key_as_the_name_of_a_field_is_masked_in_the_path() -> None:
    with pytest.raises(SpecError) as rejected:
        load_model_card({**CARD, PROJECT: "x"})
    assert rejected.value.path == '$["[key]"]'
    assert json_path(["nodes", PROJECT]) == '$.nodes["[key]"]'


@pytest.mark.parametrize(
    "body",
    [
        {"api_key": "short"},
        {"Authorization": "Bearer me"},
        {"extra": {"api-key": {"env": "MY_KEY"}}},
        {"token": ""},
        {"note": PROJECT},
        {"list": [[HEX]]},
    ],
)
def test_a_body_with_a_secret_is_rejected_with_advice(body: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"'api_key_env'.*'headers'.*\"env\""):
        load_model_card({**CARD, "body": body})


def test_an_ordinary_body_is_accepted() -> None:
    body = {
        "provider": {"order": ["a", "b-2024-10-22"], "token": None},
        "transforms": ["middle-out"],
    }
    assert load_model_card({**CARD, "body": body})


@pytest.mark.parametrize(
    "url",
    [
        "http://a/PROJECT/v1",
        "http://a/v1?key=PROJECT",
        "http://me:PROJECT@a/v1",
        "http://a?PROJECT",
    ],
)
def test_an_address_with_a_key_is_rejected_without_showing_it(url: str) -> None:
    with pytest.raises(SpecError, match="'api_key_env'") as rejected:
        load_model_card({**CARD, "base_urls": ["http://b/v1", url.replace("PROJECT", PROJECT)]})
    assert rejected.value.path == "$.base_urls[1]"
    assert hidden(str(rejected.value), PROJECT)


@pytest.mark.parametrize(
    "url", [f"https://gateway.example/v1/{HEX}/mine/openai", "https://hf-inference-of-mine.example"]
)
def test_other_addresses_are_accepted(url: str) -> None:
    assert load_model_card({**CARD, "base_urls": [url]})


def test_a_digest_of_a_local_card_is_shown() -> None:
    card = {"name": "near", "backend": "local", "sources": [{"path": "x.gguf", "sha256": HEX}]}
    with pytest.raises(SpecError, match=HEX):
        load_model_card(card)
