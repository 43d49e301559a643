"""The public names of the package, their signatures and their fields."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator
from typing import Any

from golden_files import check

import archon


def plain(text: object) -> str:
    """An annotation or a default without quotes, modules and addresses."""
    text = re.sub(r"['\"]?\b(?:[A-Za-z_]\w*\.)+(?=[A-Z])", "", str(text))
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def signature(function: Any) -> str:
    """Parameters, defaults and annotations, with annotations as they are written."""
    parameters, previous = [], None
    found = inspect.signature(function)
    for parameter in found.parameters.values():
        kind = parameter.kind
        if kind is kind.KEYWORD_ONLY and previous not in (kind.KEYWORD_ONLY, kind.VAR_POSITIONAL):
            parameters.append("*")
        star = {kind.VAR_POSITIONAL: "*", kind.VAR_KEYWORD: "**"}.get(kind, "")
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        parameters.append(f"{star}{parameter.name}{noted(': ', parameter.annotation)}{default}")
        previous = kind
    is_async = inspect.iscoroutinefunction(function)
    returned = noted(" -> ", found.return_annotation)
    return f"({', '.join(parameters)}){returned}{' async' if is_async else ''}"


def noted(before: str, annotation: Any) -> str:
    """An annotation after what separates it, or nothing."""
    if annotation is inspect.Parameter.empty:
        return ""
    is_text = isinstance(annotation, str)
    return before + plain(annotation if is_text else inspect.formatannotation(annotation))


def members(kind: type) -> Iterator[str]:
    """A line per public method and property, those of bases in the package included."""
    for name in sorted(dir(kind)):
        owner = next((base for base in kind.__mro__ if name in vars(base)), None)
        if name.startswith("_") or owner is None or not owner.__module__.startswith("archon"):
            continue
        member = inspect.getattr_static(kind, name)
        if isinstance(member, property):
            assert member.fget is not None
            returned = member.fget.__annotations__.get("return", "")
            yield f"  property {name}: {plain(returned)}"
        elif isinstance(member, classmethod | staticmethod):
            yield f"  {type(member).__name__} {name}{signature(member.__func__)}"
        elif inspect.isfunction(member):
            yield f"  method {name}{signature(member)}"


def described(name: str, value: Any) -> str:
    """Lines that say all that a program can depend on."""
    if not isinstance(value, type):
        if typing.get_args(value):
            separator = ", " if typing.get_origin(value) is tuple else " | "
            parts = (getattr(kind, "__name__", plain(kind)) for kind in typing.get_args(value))
            return f"{name} = {separator.join(parts)}"
        return f"{name}{signature(value)}"
    if issubclass(value, Exception):
        bases = [b.__name__ for b in value.__mro__[1:] if issubclass(b, Exception)]
        lines = [f"exception {name}({' < '.join(bases)})"]
    else:
        lines = [f"class {name}"]
    if dataclasses.is_dataclass(value):
        options = value.__dataclass_params__  # type: ignore[attr-defined]
        lines.append(f"  dataclass frozen={options.frozen} eq={options.eq}")
        for one in dataclasses.fields(value):
            default = ""
            if one.default is not dataclasses.MISSING:
                default = f" = {one.default!r}"
            elif one.default_factory is not dataclasses.MISSING:
                default = f" = {getattr(one.default_factory, '__name__', 'factory')}()"
            flags = "".join(
                f" {w}=False" for w in ("init", "compare", "repr") if not getattr(one, w)
            )
            lines.append(f"  field {one.name}{noted(': ', one.type)}{default}{flags}")
    elif inspect.isfunction(value.__init__) and not getattr(value, "_is_protocol", False):
        lines.append(f"  init{signature(value.__init__)}")
    return "\n".join([*lines, *members(value)])


def test_public_names_and_their_signatures() -> None:
    names = list(archon.__all__)
    assert set(names) <= set(dir(archon))
    check("api.txt", "\n\n".join(described(name, getattr(archon, name)) for name in names))
