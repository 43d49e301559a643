"""Providers: the table, the environment, and cards that override it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from archon.errors import SpecError, UsageError
from archon.lm.factory import capabilities
from archon.lm.remote import open_remote
from archon.lm.thinking import server_fields
from archon.spec.model import OMITTED_FIELDS, ModelCard, OpenAICard
from archon.spec.providers import PROVIDED_KEYS, PROVIDERS, base_url, defaults
from archon.spec.reader import load_model_card

VARIABLES = {name for row in PROVIDERS.values() for name in (*row.keys, row.url_variable) if name}
CARD: TypeAdapter[ModelCard] = TypeAdapter(ModelCard)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def card(**keys: object) -> OpenAICard:
    made = CARD.validate_python({"name": "c", "backend": "openai", "model": "m", **keys})
    assert isinstance(made, OpenAICard)
    return made


@pytest.mark.parametrize(
    ("provider", "variable", "value", "address"),
    [
        ("openai", "OPENAI_BASE_URL", "https://proxy.example/v1/", "https://proxy.example/v1"),
        ("anthropic", "ANTHROPIC_BASE_URL", "https://p.example", "https://p.example/v1"),
        ("groq", "GROQ_BASE_URL", "https://p.example", "https://p.example/openai/v1"),
        ("together", "TOGETHER_BASE_URL", "https://p.example/v1", "https://p.example/v1"),
        (
            "azure", "AZURE_OPENAI_ENDPOINT", "https://me.openai.azure.com/",
            "https://me.openai.azure.com/openai/v1",
        ),
        (
            "azure", "AZURE_OPENAI_ENDPOINT", "https://me.openai.azure.com/openai/v1/",
            "https://me.openai.azure.com/openai/v1",
        ),
        ("ollama", "OLLAMA_HOST", "0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("ollama", "OLLAMA_HOST", ":8000", "http://127.0.0.1:8000/v1"),
        ("ollama", "OLLAMA_HOST", "gpu-box", "http://gpu-box:11434/v1"),
        ("ollama", "OLLAMA_HOST", "gpu-box:80", "http://gpu-box:80/v1"),
        ("ollama", "OLLAMA_HOST", "https://ollama.com", "https://ollama.com/v1"),
        ("ollama", "OLLAMA_HOST", "[::1]:11434", "http://[::1]:11434/v1"),
        ("ollama", "OLLAMA_HOST", "'127.0.0.1' ", "http://127.0.0.1:11434/v1"),
    ],
)  # fmt: skip
def test_the_variables_of_the_providers_tools_apply(
    provider: str, variable: str, value: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert base_url(PROVIDERS[provider]) == address
    assert card(provider=provider).base_urls == [address]


def test_an_endpoint_is_needed_when_the_model_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = load_model_card("azure:my-deployment").spec
    assert isinstance(stored, OpenAICard)
    assert stored.base_urls == []
    with pytest.raises(UsageError, match="set the environment variable AZURE_OPENAI_ENDPOINT"):
        open_remote(stored)
    with pytest.raises(ValidationError, match="name a 'provider'"):
        card(base_urls=[])
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://me.openai.azure.com")
    read = CARD.validate_python(json.loads(stored.model_dump_json()))
    assert isinstance(read, OpenAICard)
    assert read.base_urls == ["https://me.openai.azure.com/openai/v1"]


def test_an_invalid_endpoint_is_an_error_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "me.openai.azure.com")
    with pytest.raises(SpecError, match="AZURE_OPENAI_ENDPOINT must begin with https"):
        load_model_card("azure:my-deployment")


def test_the_first_key_variable_that_is_set_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert card(provider="gemini").api_key_env == "GEMINI_API_KEY"
    monkeypatch.setenv("GOOGLE_API_KEY", "k")
    assert card(provider="gemini").api_key_env == "GOOGLE_API_KEY"
    assert card(provider="vllm").api_key_env is None
    monkeypatch.setenv("VLLM_API_KEY", "k")
    assert card(provider="vllm").api_key_env == "VLLM_API_KEY"


def test_a_limit_on_reasoning_needs_a_provider_that_obeys_it() -> None:
    made = card(provider="anthropic", thinking=True, max_thinking_tokens=2000)
    assert server_fields(made.thinking_field, made.thinking_params()) == {
        "thinking": {"type": "enabled", "budget_tokens": 2000}
    }
    assert "thinking_budget" in capabilities(made)
    assert "thinking_budget" not in capabilities(card(provider="together"))
    with pytest.raises(ValidationError, match="'max_thinking_tokens' has no effect at together"):
        card(provider="together", max_thinking_tokens=2000)


@pytest.mark.parametrize(
    ("thinking", "field"), [(True, {"type": "adaptive"}), (False, {"type": "disabled"}), (None, {})]
)
def test_anthropic_gets_its_own_field(thinking: bool | None, field: dict[str, str]) -> None:
    made = card(provider="anthropic", thinking=thinking)
    sent = server_fields(made.thinking_field, made.thinking_params())
    assert sent == ({"thinking": field} if field else {})


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_a_row_of_the_table_makes_a_valid_card(provider: str) -> None:
    made, row = card(provider=provider), PROVIDERS[provider]
    assert {*defaults(provider, OMITTED_FIELDS)} | {"api_key_env"} == PROVIDED_KEYS
    assert made.omit == [field for field in row.unsupported if field in OMITTED_FIELDS]
    assert made.logprobs == row.logprobs
    assert not made.native_n


def test_a_card_overrides_its_provider_also_after_it_was_stored() -> None:
    changes = {
        "base_urls": ["http://gateway.example/v1"], "omit": [], "max_tokens_field": "max_tokens",
        "constraint": None, "logprobs": False, "thinking_field": "chat_template_kwargs",
        "api_key_env": "GATEWAY_KEY",
    }  # fmt: skip
    made = card(provider="openai", **changes)
    assert made.model_dump(include={*changes}) == changes
    assert CARD.validate_python(json.loads(made.model_dump_json())) == made


def test_a_card_without_a_provider_is_stored_as_before() -> None:
    keys = card(base_urls=["http://h/v1"]).model_dump().keys()
    assert not keys & {"provider", "omit", "max_tokens_field", "thinking_field"}


def test_a_card_needs_addresses_or_a_known_provider() -> None:
    with pytest.raises(ValidationError, match="base_urls"):
        card()
    with pytest.raises(ValidationError, match="'openai', 'azure'"):
        card(provider="opeani")


def test_plain_completions_of_a_provider_have_no_response_format() -> None:
    assert card(provider="openai", endpoint="completions").constraint is None
    assert card(provider="vllm", endpoint="completions").constraint == "structured_outputs"


def test_the_guide_lists_every_provider_with_its_variables() -> None:
    page = Path(__file__).parents[2] / "docs" / "guides" / "servers.md"
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line[:3] == "| `"]
    listed = {line.split("`")[1]: line for line in lines if line.split("`")[1].endswith(":")}
    assert listed.keys() == {f"{name}:" for name in PROVIDERS}
    for name, row in PROVIDERS.items():
        for value in (row.base_url, *row.keys, row.url_variable):
            assert value is None or f"`{value}`" in listed[f"{name}:"]
