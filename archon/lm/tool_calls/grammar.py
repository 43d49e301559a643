"""Grammars of replies that are tool calls, in llguidance's Lark dialect.

``tool_choice`` may require a call. Then the reply is exactly one call, in the model's format, whose
arguments match the tool's schema. If a tool is ``strict`` and the model may choose, the reply is
text in which every block that the format's marker opens is such a call. If a JSON schema applies
to the text, the reply is a call or such a text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from archon.lm.tool_calls.formats import ARGUMENTS, NAME, ToolFormat
from archon.types import NamedTool, Request, Tool

_JSON_FORMAT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
NO_PARAMETERS: Mapping[str, object] = {"type": "object", "properties": {}}


def call_grammar(
    request: Request, format: ToolFormat, special_ids: Mapping[str, int]
) -> str | None:
    """Return the grammar of a request's replies, or None if any text is a valid reply.

    Parameters
    ----------
    special_ids
        Names of special tokens, which text cannot produce → their ids.
    """
    tools, choice = request.offered_tools, request.tool_choice
    if isinstance(choice, NamedTool):
        tools = tuple(tool for tool in tools if tool.name == choice.name)
    is_forced = choice == "required" or isinstance(choice, NamedTool)
    schema = None if request.constraint is None else request.constraint.json_schema
    is_strict = any(tool.strict for tool in tools) and bool(format.begins)
    if not tools or not (is_forced or is_strict or schema is not None):
        return None
    marker = "" if is_forced or schema is not None else format.begins[0]
    rules = _call_rules(tools, format, special_ids, marker)
    if is_forced:
        return "\n".join(["start: call", *rules])
    if schema is not None:
        value = json.dumps({**schema, "x-guidance": _JSON_FORMAT})
        return "\n".join(["start: call | value", f"value: %json {value}", *rules])
    opened = f"/(?s:.*){re.escape(marker)}/"
    if marker in special_ids:
        free = ["start: TEXT | TEXT call start", "TEXT: /(?s:.*)/"]
        rules[0] = rules[0].replace("call: ", f"call: <[{special_ids[marker]}]> (", 1) + ")"
    else:
        outside = f"/(?s:.*)/ & ~{opened[:-1]}(?s:.*)/"
        free = ["start: TEXT | opened call start", f"opened[lazy]: {opened}", f"TEXT: {outside}"]
    return "\n".join([*free, *rules])


def _call_rules(
    tools: Sequence[Tool], format: ToolFormat, special_ids: Mapping[str, int], marker: str
) -> list[str]:
    """Return the rule of a call, without the text that opens it, and those of the arguments."""
    pattern = format.pattern
    if marker and not pattern.startswith(marker):
        pattern = marker + pattern
    pattern = pattern.removeprefix(marker)
    calls, rules = list[str](), list[str]()
    for index, tool in enumerate(tools):
        filled = pattern.replace(NAME, tool.name)
        parts = [_terminals(part, special_ids) for part in filled.split(ARGUMENTS)]
        calls.append(f" a{index} ".join(parts))
        schema = dict(tool.parameters or NO_PARAMETERS)
        if tool.strict or not schema.get("properties"):
            schema.setdefault("additionalProperties", False)
        rules.append(f"a{index}: %json {json.dumps({**schema, 'x-guidance': _JSON_FORMAT})}")
    return [f"call: {' | '.join(calls)}", *rules]


def _terminals(text: str, special_ids: Mapping[str, int]) -> str:
    """Return a text as terminals of a grammar; special tokens in it become token ids."""
    names = sorted((name for name in special_ids if name), key=len, reverse=True)
    pieces = re.split(f"({'|'.join(map(re.escape, names))})", text) if names else [text]
    return " ".join(
        f"<[{special_ids[piece]}]>"
        if piece in special_ids
        else json.dumps(piece, ensure_ascii=False)
        for piece in pieces
        if piece
    )
