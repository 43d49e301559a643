"""Parts shared by all file schemas: strict objects, sampling parameters and prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    create_model,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

from archon.spec.messages import shown, suggestion
from archon.spec.secrets import mask_secrets
from archon.types import LATER_PARAMETERS, SAMPLING_PARAMETERS, SamplingParameter, SamplingParams

MAX_COUNT = 10_000

Count = Annotated[int, Field(ge=1, le=MAX_COUNT, strict=True)]
CountOrZero = Annotated[int, Field(ge=0, le=MAX_COUNT, strict=True)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
TokenId = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,9})$")]
"""Token id as a key of an object. Only one notation is valid, so that no id can occur twice."""
Version = Annotated[int, Field(ge=1, le=1, strict=True, description="Version of the file format.")]

DEFER_BUILD = ConfigDict(defer_build=True)
"""Build a model's validator on first use, because a command uses few of the models it imports."""
_PYDANTIC_ERROR_TYPES = frozenset(get_args(ErrorType))


class StrictModel(BaseModel):
    """A JSON object with a fixed set of keys; any other key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, **DEFER_BUILD)

    @model_validator(mode="wrap")
    @classmethod
    def _known_keys(cls, data: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Report unknown keys with a suggestion, which ``extra="forbid"`` cannot do.

        All other keys are still validated, so that all errors are reported together.
        """
        unknown = [key for key in data if key not in cls.model_fields] if type(data) is dict else []
        if not unknown:
            return validate(data)
        errors = [_unknown_key(key, cls.model_fields, data[key]) for key in unknown]
        try:
            validate({key: value for key, value in data.items() if key in cls.model_fields})
        except ValidationError as error:
            errors += [_copied(detail) for detail in error.errors(include_url=False)]
        raise ValidationError.from_exception_data(cls.__name__, errors)


def _unknown_key(key: str, valid: Iterable[str], value: Any) -> InitErrorDetails:
    named = shown(mask_secrets(key)) if isinstance(key, str) else shown(key)
    context = {"reason": f"unknown key {named}{suggestion(key, valid)}", "key": key}
    kind = PydanticCustomError("unknown_key", "{reason}", context)
    return InitErrorDetails(type=kind, loc=(), input=value)


def _copied(detail: ErrorDetails) -> InitErrorDetails:
    """Copy a pydantic error so that it can be raised again."""
    name, context = detail["type"], detail.get("ctx", {})
    kind: str | PydanticCustomError = name
    if name not in _PYDANTIC_ERROR_TYPES:
        template: Any = "{reason}" if name == "unknown_key" else detail["msg"]
        kind = PydanticCustomError(name, template, context)
    return InitErrorDetails(type=kind, loc=detail["loc"], input=detail["input"], ctx=context)


class LaterKeys(StrictModel):
    """A file model with keys (``later_keys``) that are missing from earlier versions of Archon.

    A dump omits such a key if it has its default value. The dump is then the same as before the key
    existed, so that stored runs and studies are recognized and can be resumed.
    """

    later_keys: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_unused_later_keys(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        for key in self.unused_later_keys() & data.keys():
            del data[key]
        return data

    def unused_later_keys(self) -> frozenset[str]:
        """Return the later keys that have their default values."""
        fields = type(self).model_fields
        return frozenset(
            key
            for key in self.later_keys
            if getattr(self, key) == fields[key].get_default(call_default_factory=True)
        )


def key_discriminator(keys: Mapping[str, type[BaseModel]]) -> Discriminator:
    """Return a discriminator that chooses the union member by its unique key.

    Errors are then about the intended member only. Without a discriminator, pydantic would report
    the errors of every member.

    Parameters
    ----------
    keys
        Key → the model with this key. A model's tag is its class name.
    """

    def tag(value: object) -> str | None:
        if isinstance(value, BaseModel):
            return type(value).__name__
        present = value if isinstance(value, dict) else ()
        return next((model.__name__ for key, model in keys.items() if key in present), None)

    listed = ", ".join(repr(key) for key in keys)
    return Discriminator(tag, "which_member", f"must be an object with one of the keys {listed}")


class _SamplingBase(LaterKeys):
    """Sampling parameters. Missing parameters default to the model card's value."""

    later_keys = LATER_PARAMETERS

    def params(self) -> SamplingParams:
        """Convert the keys to ``archon.types.SamplingParams``."""
        values: dict[str, Any] = {}
        for name in SAMPLING_PARAMETERS:
            value = getattr(self, name)
            values[name] = tuple(value) if isinstance(value, list) else value
        return SamplingParams(**values)


def _sampling_field(parameter: SamplingParameter) -> tuple[Any, Any]:
    """Return a sampling parameter's type and pydantic field, whose default is None."""
    kind: Any = type(parameter.default)
    if parameter.is_by_token:
        bias = Annotated[float, Field(ge=parameter.ge, le=parameter.le)]
        kind = Annotated[dict[TokenId, bias], Field(max_length=parameter.max_length)]
        return kind | None, Field(None, description=parameter.help)
    if kind is tuple:
        kind = list[Annotated[str, Field(min_length=1)]]
    bounds = {name: getattr(parameter, name) for name in ("ge", "gt", "le", "max_length")}
    return kind | None, Field(None, **bounds, description=parameter.help)


if TYPE_CHECKING:

    class SamplingSpec(_SamplingBase): ...

else:
    SamplingSpec = create_model(
        "SamplingSpec",
        __base__=_SamplingBase,
        __doc__=_SamplingBase.__doc__,
        __module__=__name__,
        **{name: _sampling_field(parameter) for name, parameter in SAMPLING_PARAMETERS.items()},
    )


class PromptSpec(StrictModel):
    """A prompt: a named template or custom text, with a system message and worked examples."""

    template: Name | None = Field(
        None, description="Name of a template; see `archon ls templates`."
    )
    text: str | None = Field(
        None,
        min_length=1,
        description="Custom text of the prompt. It contains the placeholder {question} and, for "
        "nodes with inputs, {candidates}.",
    )
    system: str | None = Field(None, description="System message.")
    shots: CountOrZero | None = Field(
        None, description="Number of worked examples before the question."
    )
    examples: Name | None = Field(
        None, description="Name of the pool of worked examples. The default is the benchmark's."
    )

    @model_validator(mode="after")
    def _one_wording(self) -> PromptSpec:
        if self.template is not None and self.text is not None:
            raise ValueError("give either 'template' or 'text', not both")
        return self
