"""The sampling fields that all requests for texts share."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model, field_validator

from archon.serve.request_object import INTEGRAL, RequestBody
from archon.spec.common import TokenId
from archon.types import EXTRA_SAMPLERS, SamplingParameter, SamplingParams

MAX_SAMPLES = 128
_MAX_INT64 = 2**63 - 1
_MIN_TOP_P = 1e-9
"""Value that replaces a ``top_p`` of 0. Both keep only the most probable token."""

_MAX_STOP_CHARACTERS = 1000
"""Maximum length of a stop string. Each new token is compared with all of its prefixes."""
StopString = Annotated[str, Field(min_length=1, max_length=_MAX_STOP_CHARACTERS)]
MaxTokens = Annotated[int, Field(ge=1, le=1_000_000), INTEGRAL] | Annotated[Literal[-1], INTEGRAL]
"""Type of ``max_tokens``. A value of -1 makes the field count as absent."""


class _PlainFields(RequestBody):
    """Fields of ``SamplingFields`` other than the extra samplers."""

    model: str
    n: Annotated[int, Field(ge=1, le=MAX_SAMPLES), INTEGRAL] | None = None
    seed: Annotated[int, Field(ge=-_MAX_INT64, le=_MAX_INT64), INTEGRAL] | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: (
        Annotated[dict[TokenId, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=1024)]
        | None
    ) = Field(None, description="Token id → number that is added to the token's logit.")


def _sampler_field(parameter: SamplingParameter) -> tuple[Any, Any]:
    """Return a sampler parameter's type and field.

    An integer may be -1 instead of 0, as vLLM's ``top_k``.
    """
    if isinstance(parameter.default, int):
        kind = Annotated[int, Field(ge=-1, le=parameter.le), INTEGRAL]
        return kind | None, Field(None, description="0 and -1 keep all tokens.")
    bounds = {name: getattr(parameter, name) for name in ("ge", "gt", "le")}
    return float | None, Field(None, **bounds)


if TYPE_CHECKING:

    class _SamplerFields(_PlainFields): ...

else:
    _SamplerFields = create_model(
        "_SamplerFields",
        __base__=_PlainFields,
        __module__=__name__,
        **{name: _sampler_field(parameter) for name, parameter in EXTRA_SAMPLERS.items()},
    )


class SamplingFields(_SamplerFields):
    """Base class of the bodies of requests for texts. A field that is ``null`` counts as absent."""

    max_tokens: MaxTokens | None = None
    stop: (
        StopString
        | Literal[""]
        | Annotated[list[StopString], Field(max_length=4, fail_fast=True)]
        | None
    ) = None

    @field_validator("max_tokens", "stop")
    @classmethod
    def _without_neutral_value(cls, value: object) -> object:
        return None if value in (-1, "", []) else value

    @property
    def run_seed(self) -> int:
        """The request's seed, or a random one if ``seed`` is absent."""
        return secrets.randbits(53) if self.seed is None else self.seed

    def sampling(self) -> SamplingParams:
        """Return the sampling parameters that the request sets."""
        stop = (self.stop,) if isinstance(self.stop, str) else self.stop
        bias = None
        if self.logit_bias is not None:
            bias = tuple((int(token), value) for token, value in self.logit_bias.items())
        return SamplingParams(
            temperature=self.temperature,
            top_p=None if self.top_p is None else max(self.top_p, _MIN_TOP_P),
            max_tokens=self.max_tokens,
            stop=None if stop is None else tuple(stop),
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            logit_bias=bias,
            **self._extra_samplers(),
        )

    def _extra_samplers(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in EXTRA_SAMPLERS}
        return {n: max(v, 0) if isinstance(v, int) else v for n, v in values.items()}
