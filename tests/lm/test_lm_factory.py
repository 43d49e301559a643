import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from archon.errors import UsageError
from archon.lm.base import close
from archon.lm.factory import capabilities, open_lm
from archon.spec.model import ModelCard

ADAPTER: TypeAdapter[ModelCard] = TypeAdapter(ModelCard)
OPENAI = {
    "name": "far",
    "backend": "openai",
    "base_urls": ["http://127.0.0.1:9/v1"],
    "model": "m",
}


def card(**values: object) -> ModelCard:
    return ADAPTER.validate_python(values)


@pytest.mark.parametrize(
    "values",
    [{"name": "s", "backend": "scripted"}, OPENAI, {**OPENAI, "logprobs": True}],
)
async def test_the_capabilities_of_a_card_are_those_of_its_opened_model(
    values: dict[str, object],
) -> None:
    lm = open_lm(card(**values))
    assert lm.capabilities == capabilities(card(**values))
    await close(lm)


def test_the_shipped_scripted_card_is_valid() -> None:
    path = Path(__file__).parents[2] / "models" / "scripted.json"
    assert capabilities(card(**json.loads(path.read_text()))) >= {"choices", "constraint"}


def test_a_missing_key_is_an_error_that_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(UsageError, match="NO_SUCH_KEY"):
        open_lm(card(**OPENAI, api_key_env="NO_SUCH_KEY"))


@pytest.mark.parametrize("key", ["two words", "línea", "a\nb"])
def test_an_invalid_key_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", key)
    with pytest.raises(UsageError, match="SOME_KEY") as caught:
        open_lm(card(**OPENAI, api_key_env="SOME_KEY"))
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://me:secret@host/v1", "http://host:secret", "https:///v1", "http://host/v1?key=secret"],
)
def test_an_invalid_address_or_one_with_a_secret_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_lm(card(**{**OPENAI, "base_urls": [url]}))
    assert "secret" not in str(caught.value)


def test_language_models_are_imported_without_torch_and_httpx() -> None:
    code = "import archon.lm, sys; print({'torch', 'httpx', 'starlette'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stderr
