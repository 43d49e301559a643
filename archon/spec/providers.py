"""Providers of models: the servers that a model string or a card can name.

The table ``PROVIDERS`` has everything that Archon knows about a provider. A card with
``"provider": NAME`` takes the row's values for the keys that it does not set itself, and the string
``NAME:MODEL`` is such a card with a model (``archon.spec.model_strings``).

Each row has the page that its facts come from, read in November 2026. Variables of keys and
addresses are those of the providers' own Python and TypeScript libraries. A field counts as
unsupported only if a source says that the server rejects or ignores it, or documents all fields
without it. Any other field is sent, and an error of the server names the card's key to change
(``archon.lm.openai.field_adaptation``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archon.spec.messages import shown

LOCAL_SAMPLERS = ("top_k", "min_p")
"""Sampling parameters that OpenAI's protocol lacks, so that most hosted services do, too."""
_OTHER_SAMPLERS = ("typical_p", "top_n_sigma", "repetition_penalty")
_HOSTED = (*LOCAL_SAMPLERS, *_OTHER_SAMPLERS)


@dataclass(frozen=True, slots=True)
class Provider:
    """A row of the table."""

    title: str
    base_url: str | None
    """Address up to and including ``/v1``; None if only ``url_variable`` has it."""
    source: str
    """Page that documents the supported fields."""
    keys: tuple[str, ...] = ()
    """Usual environment variables of the API key; the first one that is set counts."""
    needs_key: bool = True
    """False if the server can run without a key. One of ``keys`` is then sent only if it is set."""
    url_variable: str | None = None
    """Environment variable that replaces the address, as for the provider's own tools."""
    url_suffix: str = ""
    """What the variable's value lacks, such as ``/v1``."""
    port: int | None = None
    """Port of a variable's value without one and without a scheme."""
    unsupported: tuple[str, ...] = ()
    """Request fields that the server rejects or ignores; they are not sent."""
    max_tokens_field: str = "max_tokens"
    constraint: str | None = None
    """Value of the card's ``constraint`` that all current models of the provider support."""
    logprobs: bool = False
    native_n: bool = False
    """The server supports ``n``. Cards do not use it by default: samples that share a request
    cannot be stored and reused one by one."""
    thinking_field: str = "chat_template_kwargs"
    thinking_budget: bool = True
    """False if the server ignores the limit that ``thinking_field`` has."""

    @property
    def is_local(self) -> bool:
        """True for a server that usually runs on the user's machine with one or few models."""
        return not self.needs_key


_OPENAI: dict[str, Any] = {
    "unsupported": _HOSTED,
    "max_tokens_field": "max_completion_tokens",
    "constraint": "json_schema",
    "logprobs": True,
    "native_n": True,
    "thinking_field": "reasoning_effort",
}

PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider(
        "OpenAI",
        "https://api.openai.com/v1",
        "https://platform.openai.com/docs/api-reference/chat/create",
        ("OPENAI_API_KEY",),
        url_variable="OPENAI_BASE_URL",
        **_OPENAI,
    ),
    "azure": Provider(
        "Azure OpenAI",
        None,
        "https://learn.microsoft.com/en-us/azure/foundry/openai/api-version-lifecycle",
        ("AZURE_OPENAI_API_KEY",),
        url_variable="AZURE_OPENAI_ENDPOINT",
        url_suffix="/openai/v1",
        **_OPENAI,
    ),
    "anthropic": Provider(
        "Anthropic",
        "https://api.anthropic.com/v1",
        "https://platform.claude.com/docs/en/api/openai-sdk",
        ("ANTHROPIC_API_KEY",),
        url_variable="ANTHROPIC_BASE_URL",
        url_suffix="/v1",
        unsupported=("seed", "presence_penalty", "frequency_penalty", "logit_bias", *_HOSTED),
        thinking_field="thinking",
    ),
    # Rejected fields: https://github.com/Vali-98/ChatterUI/issues/227
    "gemini": Provider(
        "Google Gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "https://ai.google.dev/gemini-api/docs/openai",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        unsupported=("seed", "presence_penalty", "frequency_penalty", "logit_bias", *_HOSTED),
        constraint="json_schema",
        thinking_field="reasoning_effort",
    ),
    # Fields that are not in the documents are rejected; ``seed`` is called ``random_seed``.
    "mistral": Provider(
        "Mistral",
        "https://api.mistral.ai/v1",
        "https://docs.mistral.ai/api",
        ("MISTRAL_API_KEY",),
        unsupported=("seed", "stream_options", "logit_bias", *_HOSTED),
        constraint="json_schema",
        native_n=True,
        thinking_field="reasoning_effort",
    ),
    # Penalties: "not yet supported by any of our models" in the types of groq-python.
    "groq": Provider(
        "Groq",
        "https://api.groq.com/openai/v1",
        "https://console.groq.com/docs/openai",
        ("GROQ_API_KEY",),
        url_variable="GROQ_BASE_URL",
        url_suffix="/openai/v1",
        unsupported=("presence_penalty", "frequency_penalty", "logit_bias", *_HOSTED),
        max_tokens_field="max_completion_tokens",
        thinking_field="reasoning_effort",
    ),
    "together": Provider(
        "Together AI",
        "https://api.together.ai/v1",
        "https://docs.together.ai/reference/chat-completions",
        ("TOGETHER_API_KEY",),
        url_variable="TOGETHER_BASE_URL",
        unsupported=("typical_p", "top_n_sigma"),
        native_n=True,
        thinking_field="reasoning",
        thinking_budget=False,
    ),
    "openrouter": Provider(
        "OpenRouter",
        "https://openrouter.ai/api/v1",
        "https://openrouter.ai/docs/api-reference/parameters",
        ("OPENROUTER_API_KEY",),
        unsupported=("typical_p", "top_n_sigma"),
        thinking_field="reasoning",
    ),
    "ollama": Provider(
        "Ollama",
        "http://127.0.0.1:11434/v1",
        "https://docs.ollama.com/api/openai-compatibility",
        ("OLLAMA_API_KEY",),
        needs_key=False,
        url_variable="OLLAMA_HOST",
        url_suffix="/v1",
        port=11434,
        unsupported=("logit_bias", *_HOSTED),
        constraint="json_schema",
        logprobs=True,
        thinking_field="reasoning_effort",
    ),
    # Its name for ``repetition_penalty`` is ``repeat_penalty``.
    "lmstudio": Provider(
        "LM Studio",
        "http://127.0.0.1:1234/v1",
        "https://lmstudio.ai/docs/developer/openai-compat/chat-completions",
        ("LM_API_TOKEN",),
        needs_key=False,
        unsupported=("min_p", *_OTHER_SAMPLERS),
        constraint="json_schema",
    ),
    # ``repeat_penalty`` counts the last 64 tokens, so it is not ``repetition_penalty``.
    "llamacpp": Provider(
        "llama-server of llama.cpp",
        "http://127.0.0.1:8080/v1",
        "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        ("LLAMA_API_KEY",),
        needs_key=False,
        unsupported=("repetition_penalty",),
        constraint="json_schema",
        logprobs=True,
        native_n=True,
    ),
    "vllm": Provider(
        "vLLM",
        "http://127.0.0.1:8000/v1",
        "https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        ("VLLM_API_KEY",),
        needs_key=False,
        unsupported=("typical_p", "top_n_sigma"),
        constraint="structured_outputs",
        logprobs=True,
        native_n=True,
    ),
}


PROVIDED_KEYS = frozenset(
    {
        "base_urls", "api_key_env", "omit", "max_tokens_field", "constraint", "logprobs",
        "thinking_field",
    }
)  # fmt: skip
"""Keys of a card that its provider sets by default."""


def defaults(name: str, fields: tuple[str, ...]) -> dict[str, Any]:
    """Return the keys of a card of this provider, with the address and key variable in effect.

    Parameters
    ----------
    fields
        The request fields that a card can omit.

    Raises
    ------
    ValueError
        The provider is unknown, or the variable of its address is invalid.
    """
    if name not in PROVIDERS:
        raise ValueError(f"there is no provider {shown(name)}; there are {', '.join(PROVIDERS)}")
    row = PROVIDERS[name]
    address = base_url(row)
    values: dict[str, Any] = {
        "base_urls": [] if address is None else [address],
        "omit": omitted(row, fields),
        "max_tokens_field": row.max_tokens_field,
        "constraint": row.constraint,
        "logprobs": row.logprobs,
        "thinking_field": row.thinking_field,
    }
    variable = key_variable(row)
    return values if variable is None else values | {"api_key_env": variable}


def omitted(row: Provider, fields: tuple[str, ...]) -> list[str]:
    """Return the fields that are not sent to a provider, out of those that can be omitted."""
    return [field for field in row.unsupported if field in fields]


def key_variable(row: Provider) -> str | None:
    """Return the name of the variable that has the API key; None if no key is sent."""
    for name in row.keys:
        if os.environ.get(name, "").strip():
            return name
    return row.keys[0] if row.needs_key else None


def base_url(row: Provider) -> str | None:
    """Return the provider's address, which its environment variable can replace.

    Returns
    -------
    None if only the variable has the address, and it is not set (``missing_address``).

    Raises
    ------
    ValueError
        The variable's value is not an address.
    """
    value = _variable(row.url_variable)
    if not value:
        return row.base_url
    if row.port is not None:
        value = _with_port(value, row.port)
    if not value.startswith(("http://", "https://")):
        raise ValueError(f"the environment variable {row.url_variable} must begin with https://")
    value = value.rstrip("/")
    return value if value.endswith(row.url_suffix) else value + row.url_suffix


def missing_address(name: str) -> str:
    """Return what to do for a provider without an address."""
    row = PROVIDERS[name]
    return (
        f"the address of {row.title} is unknown: set the environment variable {row.url_variable} "
        "to the endpoint of your resource, such as https://NAME.openai.azure.com"
    )


def _variable(name: str | None) -> str:
    return "" if name is None else os.environ.get(name, "").strip().strip("\"'").strip()


def _with_port(value: str, port: int) -> str:
    """Complete ``host``, ``:port`` or ``host:port`` to an address.

    A server that listens on all interfaces (0.0.0.0) is reached at 127.0.0.1.
    """
    scheme, separator, rest = value.partition("://")
    if not separator:
        scheme, rest = "http", value
    authority, slash, path = rest.partition("/")
    host, colon, number = authority.rpartition(":")
    if not colon or not number.isdigit() or (authority.count(":") > 1 and not host.endswith("]")):
        host, number = authority, "" if separator else str(port)
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    return f"{scheme}://{host}{':' if number else ''}{number}{slash}{path}"
