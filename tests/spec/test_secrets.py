"""Keys that were pasted where a name belongs: refused, and never printed."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from archon.cli.main import main
from archon.errors import SpecError, UsageError
from archon.lm.keys import key_from
from archon.spec.messages import shown
from archon.spec.model import ModelCard, OpenAICard
from archon.spec.reader import load_architecture, load_model_card
from archon.spec.secrets import check_variable, looks_like_key, without_keys

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
    """A piece of the key that may stand nowhere."""
    return key[-12:] if len(key) >= 12 else key


@pytest.mark.parametrize("name", NAMES)
def test_names_of_variables_are_taken(name: str) -> None:
    assert check_variable(name) == name
    assert OpenAICard.model_validate({**CARD, "api_key_env": name}).api_key_env == name


@pytest.mark.parametrize("key", KEYS)
def test_a_key_in_place_of_a_name_is_refused_and_never_shown(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = {**CARD, "api_key_env": key}
    told: list[str] = []
    for validated in (OpenAICard.model_validate, TypeAdapter(ModelCard).validate_python):
        with pytest.raises(ValidationError) as invalid:
            validated(card)
        told.append(f"{invalid.value}" if validated == OpenAICard.model_validate else "")
    file = tmp_path / "card.json"
    file.write_text(json.dumps(card))
    with pytest.raises(SpecError, match="environment variable") as refused:
        load_model_card(file)
    assert refused.value.path == "$.api_key_env"
    told.append(f"{refused.value} {refused.value!r}")
    node = {"type": "generator", "model": "solver"}
    inline = {"version": 1, "name": "a", "models": {"solver": card}, "nodes": {"draft": node}}
    with pytest.raises(SpecError, match="environment variable") as refused:
        load_architecture({**inline, "output": "draft"})
    told.append(f"{refused.value} {refused.value!r}")
    assert main(["validate", str(file)]) == 2
    told += capsys.readouterr()
    assert main(["validate", str(file), "--json"]) == 2
    told += capsys.readouterr()
    with pytest.raises(UsageError) as unusable:
        key_from(key)
    told.append(f"{unusable.value} {unusable.value!r}")
    if key:
        assert all(secret_of(key) not in text for text in told)
    assert any("environment variable" in text for text in told)


@pytest.mark.parametrize("key", KEYS[:8])
def test_a_key_elsewhere_in_a_file_is_masked_in_errors(key: str) -> None:
    assert secret_of(key) not in shown(key)
    assert "[key]" in shown(key)
    with pytest.raises(SpecError) as refused:
        load_model_card({**CARD, "base_urls": [key]})
    assert secret_of(key) not in str(refused.value)


@pytest.mark.parametrize("text", ["generater", "risk-averse", "a-b-c", "hf_", "task-1", "desk-top"])
def test_ordinary_values_are_shown(text: str) -> None:
    assert without_keys(text) == text
    assert not looks_like_key(text)
