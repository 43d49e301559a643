"""Read layered files leniently, and log the parts that cannot be read.

A file is ``{"name": …, "layers": […]}``. A layer is a list of components or, in an older format,
``{"branches": 1, "models": [components]}``. A component is an object with a ``type``.

A single layer or component instead of a list is read as a list with one element. A file that
consists only of a list is read as a list of layers. Both cases are logged as remarks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from archon.convert.conversion_log import ConversionLog, near_miss
from archon.errors import SpecError
from archon.spec.messages import shown
from archon.spec.strict_json import JsonPath

TEST_WRITER, TEST_READER = "unit_test_generator", "unit_test_evaluator"
TYPES = ("generator", "critic", "ranker", "fuser", "verifier", TEST_WRITER, TEST_READER)
"""Component types of the original."""
FORMER_TYPES = {"model": "generator"}
"""Type name in earlier versions of the original → current name."""

_FILE_KEYS = ("name", "layers", "custom")
_LAYER_KEYS = ("branches", "models")
_LIST_OF_ONE = "list_of_one"
_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Component:
    """A component of a layered file, with a known type."""

    path: JsonPath
    type: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer with at least one readable component."""

    number: int
    """Position of the layer in the file, from 1."""
    path: JsonPath
    components: tuple[Component, ...]

    def types(self) -> list[str]:
        return [component.type for component in self.components]


@dataclass(frozen=True, slots=True)
class LayeredFile:
    """The readable layers of a file, and its name."""

    name: str
    layers: tuple[Layer, ...]


def read_layers(data: Any, log: ConversionLog, file: str | None, default_name: str) -> LayeredFile:
    """Return the readable layers of a file; log everything that cannot be read.

    Raises
    ------
    SpecError
        The data has no layers.
    """
    if isinstance(data, list) and any(isinstance(layer, list | dict) for layer in data):
        log.remark("no_file_object", (), "the file is a list, which is read as its layers")
        return LayeredFile(default_name, tuple(_read_layers(data, (), log)))
    if not isinstance(data, dict):
        raise SpecError(f"must be an object with layers, not {shown(data)}", file=file)
    if "layers" not in data:
        hint = near_miss("layers", data) or (
            "; it is already an architecture file" if "nodes" in data else ""
        )
        raise SpecError(f"the file has no 'layers' key{hint}", file=file)
    layers, path = data["layers"], ("layers",)
    is_one_layer = isinstance(layers, dict) and (_is_component(layers) or "models" in layers)
    if not isinstance(layers, list) and not is_one_layer:
        reason = f"must be a list of layers, not {shown(layers)}"
        raise SpecError(reason, file=file, path="$.layers")
    if not layers:
        raise SpecError("must contain at least one layer", file=file, path="$.layers")
    for key, value in data.items():
        if key not in _FILE_KEYS:
            log.lose((key,), _unknown(key, _FILE_KEYS))
        elif key == "custom" and value is not False:
            log.lose((key,), "components and servers written in Python are not converted")
    name = _name(data, log, default_name)
    if is_one_layer:
        log.remark(_LIST_OF_ONE, path, "a single layer is read as a list with one layer")
        return LayeredFile(name, tuple(_read_layer(layers, 1, path, log)))
    return LayeredFile(name, tuple(_read_layers(layers, path, log)))


def _name(data: dict[str, Any], log: ConversionLog, default: str) -> str:
    name = data.get("name", default)
    if not isinstance(name, str) or not name:
        log.lose(("name",), f"must be a string, not {shown(name)}")
        return default
    if len(name) > _MAX_NAME:
        log.lose(("name",), f"truncated, because names have at most {_MAX_NAME} characters")
    return name[:_MAX_NAME]


def _read_layers(layers: list[Any], path: JsonPath, log: ConversionLog) -> Iterator[Layer]:
    for i, value in enumerate(layers):
        yield from _read_layer(value, i + 1, (*path, i), log)


def _read_layer(value: Any, number: int, path: JsonPath, log: ConversionLog) -> Iterator[Layer]:
    """Yield the layer if at least one of its components is readable; otherwise, yield nothing."""
    read = [_component(member, place, log) for member, place in _members(value, path, log)]
    components = tuple(component for component in read if component is not None)
    if components:
        yield Layer(number, path, components)


def _members(value: Any, path: JsonPath, log: ConversionLog) -> list[tuple[Any, JsonPath]]:
    """Return the members of a layer with their paths."""
    if isinstance(value, dict) and "models" in value and not _is_component(value):
        for key in value:
            if key not in _LAYER_KEYS:
                log.lose((*path, key), _unknown(key, _LAYER_KEYS))
        branches = value.get("branches", 1)
        if type(branches) is not int or branches != 1:
            log.lose((*path, "branches"), "the original runs every layer once, whatever the value")
        value, path = value["models"], (*path, "models")
    if _is_component(value):
        reason = "a single component is read as a list with one component"
        log.remark(_LIST_OF_ONE, path, reason)
        return [(value, path)]
    if not isinstance(value, list):
        reason = f"a layer is a list of components or {{branches, models}}, not {shown(value)}"
        lose_all(value, path, reason, log)
        return []
    if not value:
        log.lose(path, "an empty layer has no effect")
    return [(member, (*path, k)) for k, member in enumerate(value)]


def _is_component(value: Any) -> bool:
    """Return True if a value is a component rather than a layer.

    A component has a known ``type``, or any ``type`` and no ``models``.
    """
    if not isinstance(value, dict) or "type" not in value:
        return False
    kind = value["type"]
    is_known = isinstance(kind, str) and FORMER_TYPES.get(kind, kind) in TYPES
    return is_known or "models" not in value


def _component(value: Any, path: JsonPath, log: ConversionLog) -> Component | None:
    if not isinstance(value, dict):
        log.lose(path, f"a component is an object, not {shown(value)}")
        return None
    kind = value.get("type")
    name = FORMER_TYPES.get(kind, kind) if isinstance(kind, str) else None
    if name in TYPES:
        return Component(path, name, _with_one_model(value, path, log))
    if "type" in value:
        reason = f"omitted: {shown(kind)} is not a component type{near_miss(kind, TYPES)}"
    else:
        reason = f"omitted: the component has no 'type'{near_miss('type', value)}"
    lose_all(value, path, reason, log)
    return None


def _with_one_model(data: dict[str, Any], path: JsonPath, log: ConversionLog) -> dict[str, Any]:
    """Return the component's data, with the model's name under the ``model`` key.

    Some files call this key ``models``, or its value is a list with one name.
    """
    key = "models" if "model" not in data and "models" in data else "model"
    value = data.get(key)
    model = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(model, str) or (key == "model" and model is value):
        return data
    log.remark("model_named", (*path, key), f"the value is read as the model {shown(model)}")
    return {("model" if name == key else name): v for name, v in data.items()} | {"model": model}


def lose_all(value: Any, path: JsonPath, reason: str, log: ConversionLog) -> None:
    """Log the loss of a value. For an object, log one loss per key."""
    if isinstance(value, dict) and value:
        for key in value:
            log.lose((*path, key), reason)
    else:
        log.lose(path, reason)


def _unknown(key: str, valid: tuple[str, ...]) -> str:
    return f"unknown key{near_miss(key, valid)}"
