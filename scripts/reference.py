"""Write the reference pages of the documentation from the schemas and tables of the code.

``mkdocs build`` runs this script through mkdocs-gen-files. It writes no file into ``docs/``.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, get_args

import click
import mkdocs_gen_files

from archon.cli.examples import examples_of
from archon.cli.main import LazyGroup, archon
from archon.evals.scorers import SCORERS
from archon.graph.loading import Loader
from archon.graph.nodes.declaration import Method, NodeType
from archon.graph.nodes.registry import NODE_TYPES, prompt_kinds
from archon.spec import catalog
from archon.spec.architecture import AnyNode
from archon.spec.providers import PROVIDERS
from archon.spec.reader import schema

sys.path.insert(0, str(Path(__file__).parent))
from diagram import svg

FILE_KINDS = {
    "architecture": "A graph of nodes over models",
    "space": "A search space: an architecture with parameters that a search chooses",
    "model": "A model card: the weights or the server of a model, and its settings",
    "benchmark": "A benchmark card: questions, answers, splits and the scorer",
    "training": "A training configuration",
}
Schema = Mapping[str, Any]


def main() -> None:
    """Write every page."""
    pages = [
        *node_pages(),
        ("templates", "Prompt templates", templates_page()),
        ("scorers", "Scorers", scorers_page()),
        ("providers", "Providers of models", providers_page()),
        *file_pages(),
        *command_pages(),
        *catalogue_pages(),
    ]
    for name, title, text in pages:
        with mkdocs_gen_files.open(f"reference/{name}.md", "w") as file:
            short = title.rpartition(": ")[2].replace("`", "")  # in the navigation
            file.write(f"---\ntitle: {short}\n---\n\n# {title}\n\n{text}")
        mkdocs_gen_files.set_edit_path(f"reference/{name}.md", "../scripts/reference.py")


def page_link(name: str, page: str) -> str:
    """Return a link to another page of the same folder."""
    return f"[`{name}`]({page}.md)"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    cells = ([cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n\n"


def block(value: object, language: str = "json") -> str:
    """Return a fenced block of code; anything but text is written as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return f"```{language}\n{text.rstrip()}\n```\n\n"


# Keys of files, from JSON Schema


def keys_table(properties: Schema, required: Sequence[str], page_of: Mapping[str, str]) -> str:
    """Return a table of the keys of an object."""
    first = [key for key in ("type", "method", *required) if key in properties]
    rows = [
        (
            f"`{key}`",
            type_text(value, page_of),
            "required" if key in required else default_text(value),
            value.get("description", ""),
        )
        for key in dict.fromkeys((*first, *properties))
        for value in (properties[key],)
    ]
    return table(("key", "type", "default", "meaning"), rows)


def default_text(value: Schema) -> str:
    """Return the default of a key, empty if it is null."""
    default = value.get("default")
    return "" if default is None else f"`{json.dumps(default, ensure_ascii=False)}`"


def type_text(value: Schema, page_of: Mapping[str, str]) -> str:
    """Return the type of a value in words, with its bounds."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}]({page_of[name]})" if name in page_of else name
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if "enum" in value:
        return " or ".join(f"`{json.dumps(option)}`" for option in value["enum"])
    for union in ("anyOf", "oneOf"):
        if union in value:
            options = [option for option in value[union] if option.get("type") != "null"]
            return " or ".join(dict.fromkeys(type_text(o, page_of) for o in options))
    match value.get("type"):
        case "array":
            items = value.get("items")
            return f"list of {type_text(items, page_of)}" if items else "list"
        case "object":
            named = list(value.get("patternProperties", {}).values())
            entries = named[0] if named else value.get("additionalProperties")
            values = f" of {type_text(entries, page_of)}" if isinstance(entries, Mapping) else ""
            return f"object{values}"
        case str(name):
            return f"{name}{bounds(value)}"
        case _:
            return "any"


def bounds(value: Schema) -> str:
    """Return the limits of a number, such as `` ≥ 1``."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {value[key]:,}" for key, sign in signs.items() if key in value]
    return f" {', '.join(limits)}" if limits else ""


# Node types


def node_pages() -> Iterator[tuple[str, str, str]]:
    """Yield a page for every type of node, and their list."""
    rows = [(page_link(name, name), summary(t.spec)) for name, t in NODE_TYPES.items()]
    yield (
        "nodes/index",
        "Node types",
        "A node reads candidates from the nodes in its `inputs` and passes candidates on. "
        "Edges are the names in `inputs`; a node without inputs reads the question.\n\n"
        + table(("type", "description"), rows),
    )
    for name, node_type in NODE_TYPES.items():
        yield f"nodes/{name}", f"Node type: `{name}`", node_page(name, node_type)


def summary(thing: object) -> str:
    """Return the first line of a docstring."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def node_page(name: str, node_type: NodeType[Any]) -> str:
    """Return the page of a type of node: keys, methods, an example."""
    node_schema = node_type.spec.model_json_schema()
    page_of = dict.fromkeys(node_schema.get("$defs", {}), "../files/architecture.md")
    text = (inspect.getdoc(node_type.spec) or "") + "\n\n## Keys\n\n"
    text += keys_table(node_schema["properties"], node_schema.get("required", ()), page_of)
    text += "## Methods\n\n" if node_type.chosen_by else "## Behaviour\n\n"
    if node_type.chosen_by:
        text += f"The key `{node_type.chosen_by}` chooses the method.\n\n"
    text += f"*Effect:* {effects_of(node_type)}.\n\n"
    for method_name, method in node_type.methods.items():
        if method_name:
            text += f"### `{method_name}`\n\n"
        text += method_facts(method)
        if method.without_model is not None:
            text += "Without `model`:\n\n" + method_facts(method.without_model)
    return text + node_example(name)


def effects_of(node_type: NodeType[Any]) -> str:
    """Return a line that names the effects of a node on candidates and unit tests."""
    effects = node_type.effects
    named = {
        "writes candidates": effects.writes,
        "replaces the candidates that it reads": effects.replaces,
        "may drop candidates": effects.drops and not effects.replaces,
        "writes critiques": effects.critiques,
        "replaces values": effects.values,
        "writes unit tests": effects.writes_tests is not None,
        "reads unit tests": node_type.reads(node_type.spec.model_construct()).tests is not None,
        f"scores candidates ({effects.scores})": effects.scores is not None,
    }
    return ", ".join(effect for effect, holds in named.items() if holds) or "passes candidates on"


def method_facts(method: Method[Any]) -> str:
    """Return a list of a method's requirements and effects."""
    model = "generates text" if method.prompt else "required" if method.uses_model else "none"
    facts = [f"*Model:* {model}"]
    if method.prompt is not None:
        anchor = method.prompt.name.replace(".", "")
        names = ", ".join(f"`{template}`" for template in method.prompt.templates)
        facts.append(f"*Templates:* [{names}](../templates.md#{anchor})")
    if method.requires:
        names = ", ".join(f"`{capability}`" for capability in sorted(method.requires))
        facts.append(f"*Required capabilities of the model:* {names}")
    return "".join(f"- {fact}\n" for fact in facts) + "\n"


def node_example(node_type: str) -> str:
    """Return the first shipped architecture that has such a node, and the names of the others."""
    users = []
    for name in catalog.names("architecture"):
        spec = json.loads(catalog.find("architecture", name).read_text(encoding="utf-8"))
        found = {k: node for k, node in spec["nodes"].items() if node["type"] == node_type}
        if found:
            users.append((name, found))
    if not users:
        return ""
    name, found = users[0]
    links = ", ".join(f"[`{user}`](../architectures.md#{user})" for user, _ in users)
    return f"## Example\n\nFrom `{name}`:\n\n{block(found)}Used by {links}.\n"


# Tables


def templates_page() -> str:
    """Return the text of every template."""
    text = (
        'A node selects a template with `"prompt": "NAME"`. The first of each list is the default. '
        'A custom template is `"prompt": {"text": "…"}` with the placeholders listed here.\n\n'
    )
    for kind in prompt_kinds():
        placeholders = ", ".join(f"`{{{name}}}`" for name in kind.filled)
        text += f"## {kind.name}\n\nPlaceholders: {placeholders}.\n\n"
        for name, template in kind.templates.items():
            text += f"### `{name}` {{ #{kind.name.replace('.', '')}-{name} }}\n\n"
            text += f"{template.description}\n\n" + block(template.text, "text")
    return text


def scorers_page() -> str:
    """Return the scorers with the kind of answer that they compare."""
    text = 'A benchmark card names its scorer: `"score": "NAME"`, or an object with its "name" and'
    text += " parameters.\n\n"
    for name, scorer in SCORERS.items():
        text += f"## `{name}`\n\n{scorer.description}\n\n*Answers:* {', '.join(scorer.kinds)}\n\n"
        if scorer.aliases:
            text += f"*Other names:* {', '.join(scorer.aliases)}\n\n"
        for parameter in scorer.described_parameters():
            default = f" (default {parameter['default']!r})" if "default" in parameter else ""
            text += f"- `{parameter['name']}`{default}: {parameter['description']}\n"
        text += "\n"
    return text


def providers_page() -> str:
    """Return the table of providers."""
    rows = [
        (
            f"[`{name}`]({row.source})",
            f"`{row.base_url}`" if row.base_url else f"from `{row.url_variable}`",
            " or ".join(f"`{key}`" for key in row.keys)
            + (" (optional)" if row.keys and not row.needs_key else ""),
            f"`{row.url_variable}`" if row.url_variable else "",
            ", ".join(f"`{field}`" for field in row.unsupported),
            f"`{row.max_tokens_field}`",
            f"`{row.constraint}`" if row.constraint else "",
            "yes" if row.logprobs else "",
            "yes" if row.native_n else "",
            f"`{row.thinking_field}`",
        )
        for name, row in PROVIDERS.items()
    ]
    heads = (
        "provider", "address", "key", "variable of the address", "fields that are not sent",
        "`max_tokens_field`", "`constraint`", "`logprobs`", "supports `n`", "`thinking_field`",
    )  # fmt: skip
    return (
        'The defaults of a card with `"provider": NAME`, and of the string `NAME:MODEL`; see '
        "[Servers](../guides/servers.md#providers). A card can override each of them. The first "
        "column links the page that the facts come from; any field that is not listed as "
        "unsupported is sent, and an error of the server names the key to change. `native_n` "
        "is off unless a card sets it, since samples that share a request cannot be stored one by "
        "one.\n\n" + table(heads, rows)
    )


# File formats


def file_pages() -> Iterator[tuple[str, str, str]]:
    """Yield a page for every kind of JSON file, and their list."""
    rows = [(page_link(kind, kind), text) for kind, text in FILE_KINDS.items()]
    yield (
        "files/index",
        "File formats",
        table(("kind", "content"), rows)
        + "`archon schema KIND` prints the JSON Schema; `archon validate FILE` checks a file.\n",
    )
    nodes = {spec.__name__ for spec in get_args(get_args(AnyNode)[0])}
    for kind, text in FILE_KINDS.items():
        yield (
            f"files/{kind}",
            f"File format: {kind}",
            f"{text}.\n\n" + file_page(schema(kind), nodes),
        )


def file_page(file_schema: Schema, node_specs: set[str]) -> str:
    """Return the keys of a file and of every object in it."""
    definitions = file_schema.get("$defs", {})
    page_of = {name: f"#{name.lower()}" for name in definitions if name not in node_specs}
    for spec in NODE_TYPES.values():
        page_of[spec.spec.__name__] = f"../nodes/{spec.name}.md"
    text = ""
    if "properties" in file_schema:
        text += keys_table(file_schema["properties"], file_schema.get("required", ()), page_of)
    elif tops := file_schema.get("oneOf") or file_schema.get("anyOf"):
        text += "One of " + ", ".join(type_text(top, page_of) for top in tops) + ".\n\n"
    for name, definition in definitions.items():
        if name in node_specs:
            continue
        text += f"## {name}\n\n{definition.get('description', '')}\n\n"
        if "properties" in definition:
            text += keys_table(definition["properties"], definition.get("required", ()), page_of)
        elif "description" not in definition:
            text += f"{type_text(definition, page_of)}\n\n"
    return text


# Commands


def command_pages() -> Iterator[tuple[str, str, str]]:
    """Yield a page for every command, and their list."""
    rows = [(page_link(name, name), row[1]) for name, row in archon.table.items()]
    yield "commands/index", "Commands", table(("command", "description"), rows)
    context = click.Context(archon, info_name="archon")
    for name in archon.table:
        command = archon.get_command(context, name)
        assert command is not None
        yield (
            f"commands/{name}",
            f"Command: `archon {name}`",
            command_text(command, f"archon {name}", 2),
        )


def command_text(command: click.Command, path: str, level: int) -> str:
    """Return the usage and options of a command, and of the commands below it."""
    context = click.Context(command, info_name=path)
    text = f"{inspect.cleandoc(command.help or '')}\n\n"
    if isinstance(command, LazyGroup):
        for name in command.table:
            child = command.get_command(context, name)
            assert child is not None
            text += f"{'#' * level} `{path} {name}`\n\n"
            text += command_text(child, f"{path} {name}", level + 1)
        return text
    usage = command.get_usage(context).removeprefix("Usage: ")
    text += block(" ".join(usage.split()), "text")
    rows = [
        (f"<code>{escape(record[0]).replace('|', '&#124;')}</code>", record[1])
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context)) is not None
    ]
    text += table(("option", "meaning"), rows) if rows else ""
    return text + "Examples:\n\n" + block("\n".join(examples_of(path)), "sh")


# What is shipped


def catalogue_pages() -> Iterator[tuple[str, str, str]]:
    """Yield the shipped architectures, models and benchmarks with their files."""
    text = "The shipped architectures. `archon show NAME` draws one in a terminal.\n\n"
    for name in catalog.names("architecture"):
        path = catalog.find("architecture", name)
        spec = json.loads(path.read_text(encoding="utf-8"))
        graph = Loader().architecture(name).graph
        text += f"## {name}\n\n{spec.get('description', '')}\n\n{svg(graph)}\n\n"
        text += f'??? note "{path.name}"\n\n' + indented(block(spec))
    yield "architectures", "Architectures", text
    for kind, title in (
        ("model", "Models"),
        ("benchmark", "Benchmarks"),
        ("space", "Search spaces"),
    ):
        text = ""
        for name in catalog.names(kind):  # type: ignore[arg-type]
            spec = json.loads(catalog.find(kind, name).read_text(encoding="utf-8"))  # type: ignore[arg-type]
            text += f"## {name}\n\n{spec.get('description', '')}\n\n{block(spec)}"
        yield f"{kind}s", title, text


def indented(text: str) -> str:
    """Indent a text by four spaces, as the body of an admonition."""
    return "".join(f"    {line}\n" if line else "\n" for line in text.splitlines()) + "\n"


main()
