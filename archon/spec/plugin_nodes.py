"""Specs of node types from plug-ins: the keys of every node, and the plug-in's parameters."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any, Literal

from pydantic import Field, GetCoreSchemaHandler, ValidatorFunctionWrapHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from archon.errors import UsageError
from archon.plugins import lookup, registry
from archon.plugins.declarations import NodePlugin
from archon.plugins.registry import Registration
from archon.spec.common import Name
from archon.spec.messages import shown, suggestion
from archon.spec.node import ModelNode, Node


@cache
def node_spec(registration: Registration) -> type[Node]:
    """Return the spec of a registered node type.

    Raises
    ------
    UsageError
        A parameter has the name of a key that every node has.
    """
    plugin: NodePlugin = registration.declaration
    base = Node if plugin.model == "none" else ModelNode
    bases = (base,) if plugin.parameters is None else (plugin.parameters, base)
    reserved = {"type", *ModelNode.model_fields}
    for key in () if plugin.parameters is None else plugin.parameters.model_fields:
        if key in reserved:
            raise UsageError(
                f"{registration.place}: the node type {plugin.name!r} has a parameter {key!r}, "
                "which is a key of every node; give it another name"
            )
    namespace: dict[str, Any] = {
        "__annotations__": {"type": Literal[plugin.name]},
        "__doc__": plugin.description or f"A node of the plug-in {registration.origin.name}.",
        "__module__": __name__,
    }
    if plugin.model == "required":
        namespace["__annotations__"]["model"] = Name
        namespace["model"] = Field(description="Role in `models`.")
    title = "".join(part.capitalize() for part in plugin.name.replace("-", "_").split("_"))
    return type(f"{title}PluginNode", bases, namespace)


class OpenUnion:
    """Annotation of a union of node types that adds those of plug-ins.

    The union of shipped types is tried first, by its discriminator, so that files with only shipped
    types are validated as if there were no plug-ins.
    """

    def __init__(self, shipped: Collection[str]) -> None:
        self._shipped = shipped

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            self._validate,
            handler(source),
            serialization=core_schema.wrap_serializer_function_ser_schema(
                lambda node, handler: handler(node), schema=core_schema.any_schema()
            ),
        )

    def _validate(self, value: Any, shipped: ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, Node):
            return shipped(value) if value.type in self._shipped else value
        name = value.get("type") if isinstance(value, dict) else None
        if not isinstance(name, str) or name in self._shipped:
            return shipped(value)
        registration = lookup.find("node", name)
        if registration is not None:
            validator = node_spec(registration).__pydantic_validator__
            return validator.validate_python(value, strict=True)
        names = registry.names("node")
        if not names:
            return shipped(value)
        options = [*self._shipped, *names]
        hint = suggestion(name, options)
        if "did you mean" in hint:
            hint += f" (one of {', '.join(map(repr, options))})"
        context = {"reason": f"unknown type {shown(name)}{hint}"}
        raise PydanticCustomError("unknown_node_type", "{reason}", context)


def with_plugin_nodes(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of architectures with the node types of plug-ins."""
    registrations = lookup.all_of("node")
    if not registrations:
        return schema
    definitions = dict(schema["$defs"])
    nodes_schema = schema["properties"]["nodes"]
    ((pattern, shipped),) = nodes_schema["patternProperties"].items()
    nodes = dict(shipped)
    discriminator = dict(nodes["discriminator"])
    mapping, options = dict(discriminator["mapping"]), list(nodes["oneOf"])
    for registration in registrations:
        spec = node_spec(registration)
        own = spec.model_json_schema()
        definitions |= {k: v for k, v in own.pop("$defs", {}).items() if k not in definitions}
        definitions[spec.__name__] = own
        reference = f"#/$defs/{spec.__name__}"
        mapping[registration.name] = reference
        options.append({"$ref": reference})
    nodes |= {"discriminator": {**discriminator, "mapping": mapping}, "oneOf": options}
    properties = {
        **schema["properties"],
        "nodes": {**nodes_schema, "patternProperties": {pattern: nodes}},
    }
    return {**schema, "$defs": definitions, "properties": properties}
