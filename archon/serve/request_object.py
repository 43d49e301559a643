"""Base class of the JSON objects in requests, and the strict reading of a request's body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from archon.errors import SpecError
from archon.serve import fields
from archon.serve.fields import BadRequestError, FieldError, Ignored
from archon.spec.strict_json import decode_json


class RequestObject(BaseModel):
    """Base class of JSON objects in requests. ``rules`` apply to fields that the class lacks."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)

    rules: ClassVar[fields.Rules] = {}
    place: ClassVar[str] = ""
    """Prefix of the field names in the header that lists ignored fields, such as ``messages[].``.
    """

    @model_validator(mode="before")
    @classmethod
    def _only_known_fields(cls, data: Any, info: ValidationInfo) -> Any:
        """Remove fields that are ``null`` or ignored; raise an error for unsupported fields."""
        if not isinstance(data, dict):
            return data
        ignored = info.context if isinstance(info.context, Ignored) else Ignored()
        known = {field.alias or name for name, field in cls.model_fields.items()}
        kept = {}
        for key, value in data.items():
            if value is None:
                continue
            if key in known:
                kept[key] = value
                continue
            try:
                ignored.check(key, value, cls.place, cls.rules, known)
            except FieldError as error:
                context = {"reason": error.reason, "key": key}
                raise PydanticCustomError(error.kind, "{reason}", context) from None
        return kept


def _integral(value: Any) -> Any:
    """Convert an integral float such as 5.0 to an integer; JSON does not distinguish them."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


INTEGRAL = BeforeValidator(_integral)


class RequestBody(RequestObject):
    """Base class of complete request bodies."""

    _ignored: Ignored = PrivateAttr(default_factory=Ignored)

    @property
    def ignored(self) -> Ignored:
        """The body's ignored fields, which are reported to the client."""
        return self._ignored


B = TypeVar("B", bound=RequestBody)


def read_request(
    kind: type[B],
    content: bytes,
    *,
    is_strict: bool = False,
    prepare: Callable[[Any, Ignored], Any] = lambda body, ignored: body,
) -> B:
    """Parse the body of a request.

    Parameters
    ----------
    kind
        Type of the body.
    is_strict
        Whether to reject fields that would be ignored.
    prepare
        Function that changes the JSON data before they are validated.

    Raises
    ------
    BadRequestError
        The body is not valid JSON, or the request is invalid or not supported.
    """
    try:
        body = decode_json(content, max_bytes=len(content))
    except SpecError as error:
        raise BadRequestError(f"cannot read the body: {error}") from None
    ignored = Ignored(is_strict)
    body = prepare(body, ignored)
    try:
        request = kind.model_validate(body, context=ignored)
    except ValidationError as error:
        raise _bad_value(error, body) from None
    request._ignored = ignored
    return request


def _bad_value(error: ValidationError, body: Any) -> BadRequestError:
    """Convert pydantic's errors to a single error about the first invalid field.

    If a value may have several types, the most deeply nested error is reported.
    """
    errors = error.errors(include_url=False, include_input=False)
    paths = [_path(each, body) for each in errors]
    path = max((p for p in paths if p[:1] == paths[0][:1]), key=len)
    reported = [each for each, p in zip(errors, paths, strict=True) if p == path]
    param = ".".join(map(str, path))[:200]
    reason = ", or: ".join(dict.fromkeys(each["msg"] for each in reported))
    reason = f"{param}: {reason}" if param else reason
    kind = reported[0]["type"]
    code = kind if kind in ("unsupported", "unknown_key") else "invalid_value"
    return BadRequestError(reason[:500], param=param or None, code=code)


def _path(error: ErrorDetails, body: Any) -> tuple[str | int, ...]:
    """Return the keys and indices in an error's location, without its type names."""
    path: list[str | int] = []
    value = body
    last = len(error["loc"]) - 1
    for at, part in enumerate(error["loc"]):
        if isinstance(value, dict):
            exists = part in value
        else:
            exists = isinstance(value, list) and isinstance(part, int)
        if exists:
            value = value[part]
        if exists or (at == last and error["type"] == "missing"):
            path.append(part)
    if "key" in (context := error.get("ctx", {})):  # an unknown or unsupported key of an object
        path.append(context["key"])
    return tuple(path)
