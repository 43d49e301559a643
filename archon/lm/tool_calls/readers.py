"""Readers of the notations in which models write tool calls.

A reader gets a ``Cursor`` after the text that opens a block of calls. It returns the calls, and
leaves the cursor after them. A missing end marker is accepted, because it may be the end of the
reply. A reader raises ``ValueError`` if the text is not a call; it then stays ordinary text.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Call = tuple[str, dict[str, Any]]
"""Name and arguments of a call."""
Reader = Callable[["Cursor"], list[Call]]

_NAME_KEYS = ("name", "tool_name", "function")
_ARGUMENT_KEYS = ("arguments", "parameters", "args")
_SPACE = re.compile(r"\s*")


def _reject(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(strict=False, parse_constant=_reject)
_NAME = re.compile(r"[\w.\-]+")
_CALL_IN_PYTHON = re.compile(r"[A-Za-z_][\w.]*\(")


class Cursor:
    """A position in a text."""

    def __init__(self, text: str, at: int = 0) -> None:
        self.text, self.at = text, at

    def skip(self, *literals: str) -> str:
        """Skip white space and one of the literals if it follows; return it, or ""."""
        after = self._after_space()
        for literal in literals:
            if self.text.startswith(literal, after):
                self.at = after + len(literal)
                return literal
        return ""

    def expect(self, *literals: str) -> str:
        """Skip white space and one of the literals, which must follow."""
        found = self.skip(*literals)
        if not found:
            raise ValueError(f"{literals[0]!r} is missing at character {self.at}")
        return found

    def until(self, literal: str) -> str:
        """Return the text before a literal, and skip both."""
        end = self.text.find(literal, self.at)
        if end < 0:
            raise ValueError(f"{literal!r} is missing after character {self.at}")
        found, self.at = self.text[self.at : end], end + len(literal)
        return found

    def json(self) -> Any:
        """Return the JSON value at the cursor, and skip it."""
        try:
            value, self.at = _DECODER.raw_decode(self.text, self._after_space())
        except RecursionError as error:
            raise ValueError("the JSON value is nested too deeply") from error
        return value

    def name(self) -> str:
        """Return the name at the cursor, and skip it."""
        match = _NAME.match(self.text, self._after_space())
        if match is None:
            raise ValueError(f"no name at character {self.at}")
        self.at = match.end()
        return match.group()

    @property
    def is_at_end(self) -> bool:
        """True if only white space follows."""
        return self._after_space() == len(self.text)

    def _after_space(self) -> int:
        match = _SPACE.match(self.text, self.at)
        return self.at if match is None else match.end()


def calls_of(value: object) -> list[Call]:
    """Return the calls in JSON data: an object with a name and arguments, or a list of these.

    >>> calls_of({"name": "add", "parameters": {"a": 1}})
    [('add', {'a': 1})]
    >>> calls_of([{"type": "function", "function": {"name": "now", "arguments": "{}"}}])
    [('now', {})]

    Raises
    ------
    ValueError
        The data are something else.
    """
    if isinstance(value, list) and value:
        return [call for item in value for call in calls_of(item)]
    if not isinstance(value, dict):
        raise ValueError("a call must be an object")
    if isinstance(value.get("function"), dict):
        return calls_of(value["function"])
    names = [value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)]
    if not names:
        raise ValueError("a call needs a name")
    given = next((value[key] for key in _ARGUMENT_KEYS if key in value), None)
    return [(names[0], arguments_of(given))]


def arguments_of(value: object) -> dict[str, Any]:
    """Return arguments as an object; they may be the text of one, or missing."""
    if isinstance(value, str):
        value = _decoded(value) if value.strip() else None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("the arguments of a call must be an object")
    return value


def _decoded(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("the JSON value is nested too deeply") from error


# ---------------------------------------------------------------------------------- notations


def json_until(*ends: str) -> Reader:
    """Return a reader of JSON calls, after which one of the end markers may follow."""

    def read(cursor: Cursor) -> list[Call]:
        calls = calls_of(cursor.json())
        cursor.skip(*ends)
        return calls

    return read


def bare_json(cursor: Cursor) -> list[Call]:
    """Read JSON calls that follow each other, perhaps separated by ``;`` or ``,``."""
    calls = calls_of(cursor.json())
    while cursor.skip(";", ","):
        calls += calls_of(cursor.json())
    return calls


def function_tags(cursor: Cursor) -> list[Call]:
    """Read ``<function=name><parameter=key>value</parameter></function></tool_call>``, or JSON.

    A value that is JSON is read as JSON later (``parsing.typed``), since only the schema knows
    whether ``5`` is text.
    """
    if not cursor.text.endswith("<function=", 0, cursor.at) and not cursor.skip("<function="):
        return json_until("</tool_call>")(cursor)
    name, arguments = cursor.until(">").strip(), dict[str, Any]()
    while cursor.skip("<parameter="):
        key = cursor.until(">").strip()
        arguments[key] = RawText(cursor.until("</parameter>"))
    cursor.expect("</function>")
    cursor.skip("</tool_call>")
    return [(name, arguments)]


def key_value_tags(cursor: Cursor) -> list[Call]:
    """Read ``name<arg_key>key</arg_key><arg_value>value</arg_value></tool_call>``, or JSON."""
    if cursor.text[cursor.at :].lstrip().startswith("{"):
        return json_until("</tool_call>")(cursor)
    name, arguments = cursor.name(), dict[str, Any]()
    while cursor.skip("<arg_key>"):
        key = cursor.until("</arg_key>").strip()
        cursor.expect("<arg_value>")
        arguments[key] = RawText(cursor.until("</arg_value>"))
    cursor.expect("</tool_call>")
    return [(name, arguments)]


class RawText(str):
    """Text of an argument whose type only the tool's schema knows."""


def mistral(cursor: Cursor) -> list[Call]:
    """Read a JSON list of calls, or ``name[ARGS]{…}``, perhaps with ``[CALL_ID]`` in between."""
    if cursor.text[cursor.at :].lstrip()[:1] in ("[", "{"):
        return calls_of(cursor.json())
    name = cursor.name()
    if cursor.skip("[CALL_ID]"):
        cursor.name()
    cursor.skip("[ARGS]")
    return [(name, arguments_of(cursor.json()))]


def deepseek(cursor: Cursor) -> list[Call]:
    """Read DeepSeek's calls: a name, a separator, and JSON that may be in a code block."""
    calls = list[Call]()
    begin, separator, end = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"
    cursor.skip(begin)
    while True:
        name = cursor.until(separator).strip()
        if name == "function" and "```json" in cursor.text[cursor.at :]:
            name = cursor.until("```json").strip()
            value = cursor.json()
            cursor.skip("```")
        else:
            value = cursor.json()
        calls.append((name, arguments_of(value)))
        cursor.skip(end)
        if not cursor.skip(begin):
            break
    cursor.skip("<｜tool▁calls▁end｜>")
    return calls


def kimi(cursor: Cursor) -> list[Call]:
    """Read Kimi's calls, whose identifiers are ``functions.name:index``."""
    calls, begin = list[Call](), "<|tool_call_begin|>"
    cursor.skip(begin)
    while True:
        identifier = cursor.until("<|tool_call_argument_begin|>").strip()
        name = identifier.removeprefix("functions.").rpartition(":")[0] or identifier
        calls.append((name, arguments_of(cursor.json())))
        cursor.skip("<|tool_call_end|>")
        if not cursor.skip(begin):
            break
    cursor.skip("<|tool_calls_section_end|>")
    return calls


def gemma(quote: str, end: str) -> Reader:
    """Return a reader of ``call:name{key:value}``, whose texts are within quote markers."""

    def read(cursor: Cursor) -> list[Call]:
        cursor.expect("call:")
        name = cursor.name()
        cursor.expect("{")
        arguments = _gemma_object(cursor, quote)
        cursor.skip(end)
        return [(name, arguments)]

    return read


def _gemma_object(cursor: Cursor, quote: str) -> dict[str, Any]:
    values = dict[str, Any]()
    while not cursor.skip("}"):
        key = cursor.until(":").strip().removeprefix(quote).removesuffix(quote)
        values[key] = _gemma_value(cursor, quote)
        if not cursor.skip(","):
            cursor.expect("}")
            break
    return values


def _gemma_value(cursor: Cursor, quote: str) -> Any:
    if cursor.skip(quote):
        return cursor.until(quote)
    if cursor.skip("{"):
        return _gemma_object(cursor, quote)
    if not cursor.skip("["):
        return cursor.json()
    items = list[Any]()
    while not cursor.skip("]"):
        items.append(_gemma_value(cursor, quote))
        if not cursor.skip(","):
            cursor.expect("]")
            break
    return items


def python(*ends: str) -> Reader:
    """Return a reader of calls in Python, such as ``[add(a=1, b=2)]``, up to an end marker."""

    def read(cursor: Cursor) -> list[Call]:
        found = [(at, end) for end in ends if (at := cursor.text.find(end, cursor.at)) >= 0]
        at, end = min(found, default=(len(cursor.text), ""))
        source, cursor.at = cursor.text[cursor.at : at].strip(), at + len(end)
        if source.startswith("{") or _CALL_IN_PYTHON.match(source.lstrip("[ ")) is None:
            return calls_of(_decoded(source))
        return python_calls(source)

    return read


def python_calls(source: str) -> list[Call]:
    """Return the calls in an expression, a list, or lines of expressions; nothing is evaluated."""
    try:
        statements = ast.parse(source).body
        expressions = [one.value for one in statements if isinstance(one, ast.Expr)]
        nodes = [
            node
            for one in expressions
            for node in (one.elts if isinstance(one, ast.List | ast.Tuple) else [one])
        ]
        calls = [(_dotted(node), _keywords(node)) for node in nodes]
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError("the calls are not valid Python") from error
    if not calls or len(expressions) < len(statements):
        raise ValueError("the calls are not expressions")
    return calls


def _dotted(node: ast.expr) -> str:
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError("only calls with named arguments are read")
    return ast.unparse(node.func)


def _keywords(node: ast.expr) -> dict[str, Any]:
    assert isinstance(node, ast.Call)
    names = {"true": True, "false": False, "null": None}
    values = dict[str, Any]()
    for keyword in node.keywords:
        if keyword.arg is None:
            raise ValueError("only calls with named arguments are read")
        value = keyword.value
        is_json_name = isinstance(value, ast.Name) and value.id in names
        values[keyword.arg] = names[value.id] if is_json_name else ast.literal_eval(value)  # type: ignore[attr-defined]
    return values


def typed(value: object, schema: object) -> object:
    """Return an argument with the type that its schema gives it, where that is possible.

    >>> typed(RawText("5"), {"type": "integer"}), typed(RawText("5"), {"type": "string"})
    (5, '5')
    """
    if not isinstance(value, RawText):
        return value
    text = str(value).removeprefix("\n").removesuffix("\n")
    kinds = schema.get("type") if isinstance(schema, Mapping) else None
    kinds = kinds if isinstance(kinds, Sequence) and not isinstance(kinds, str) else [kinds]
    if "string" in kinds:
        return text
    try:
        return _decoded(text.strip())
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text.strip(), text)
