"""The program that renders chat templates in its own process. It imports nothing from Archon.

A template is untrusted code from a downloaded file. Jinja2's immutable sandbox restricts it to its
input data. The limits on this process bound the time and memory of templates such as ``{{ 'a' *
10**10 }}`` or nested loops. A sandbox within Archon's process could not do this.

The Jinja2 environment is identical to that of transformers 5.23
(``transformers.utils.chat_template_utils``), so the rendered prompts are identical too.

The first output line, ``{"missing": […]}``, lists the limits that this platform does not support.
After that, each input line is a request, which is a JSON object. One output line answers it:

- ``{"template": …}`` compiles the template. The answer is ``{"literals": […], "sought": […],
  "variables": […]}``: the strings that the template may search for in a message, the strings that
  it certainly searches for, and the names of its input variables.
- ``{"template": …, "values": […]}`` renders the template for each set of values. The answer is
  ``{"texts": […]}``. If any set but the first fails, its text is null.
- The answer to a failed request is ``{"error": …}``.

If a template exceeds the limit on processor time, the process ends, and the parent starts a new
process.
"""

from __future__ import annotations

import functools
import json
import signal
import sys
from datetime import datetime
from typing import Any

if __name__ == "__main__":
    # Isolated mode ignores PYTHONPATH and user packages: the parent passes the folders.
    sys.path += sys.argv[1:]

import jinja2
from jinja2 import meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

MAX_SECONDS = 2.0
"""Maximum processor time of one request."""
MAX_MEMORY_BYTES = 512 * 2**20
"""Maximum address space of the process."""
MAX_CHARACTERS = 16 * 2**20
"""Maximum length of a rendered prompt."""
_MAY_SEEK = (nodes.Call, nodes.Filter, nodes.Test, nodes.Compare, nodes.Assign)
_SEARCHES = (
    "split", "rsplit", "partition", "rpartition", "replace", "removeprefix", "removesuffix",
    "startswith", "endswith", "find", "rfind", "index", "rindex", "count",
)  # fmt: skip
MEMORY, TIME = "memory", "processor time"
"""Names of the limits in the first line of the output."""


def main() -> None:
    """Answer requests until the input ends."""
    missing = [name for name, limit in ((MEMORY, limit_memory), (TIME, _limit_time)) if not limit()]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    renderer = TemplateRenderer()
    _write({"missing": missing})
    for line in sys.stdin.buffer:
        if TIME not in missing:
            _limit_time()
        _write(renderer.reply(json.loads(line)))


def limit_memory() -> bool:
    """Limit the address space of this process; return False if the platform does not allow it.

    macOS refuses any limit below the size that is already mapped, and Python on Windows has no
    module ``resource``.
    """
    try:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        unlimited = hard == resource.RLIM_INFINITY
        bound = MAX_MEMORY_BYTES if unlimited else min(hard, MAX_MEMORY_BYTES)
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    except (ImportError, AttributeError, ValueError, OSError):
        return False
    return True


def _limit_time() -> bool:
    """Have the system end this process after another ``MAX_SECONDS`` of processor time.

    Return False if the platform does not support it.
    """
    try:
        signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
    except (AttributeError, OSError):
        return False
    return True


def _write(reply: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


class TemplateRenderer:
    """Compiles and renders templates. The limits apply to the process, not to this class."""

    def __init__(self) -> None:
        self._environment = _environment()
        self._compiled = functools.lru_cache(maxsize=16)(self._environment.from_string)

    def reply(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to one request."""
        source, values = request["template"], request.get("values")
        try:
            template = self._compiled(source)
            if values is None:
                tree = self._environment.parse(source)
                return {
                    "literals": _literals(tree, _MAY_SEEK),
                    "sought": _sought(tree),
                    "variables": sorted(meta.find_undeclared_variables(tree)),
                }
            # The texts are compared with each other, so the time must be the same in all of them.
            now = {"strftime_now": datetime.now().strftime}
            texts: list[str | None] = [template.render(now | _with_tokens(values[0]))]
        except MemoryError:
            return {"error": "rendering needs too much memory"}
        except Exception as error:  # a template may fail in any way
            return {"error": f"{error}"[:1000] or type(error).__name__}
        for other in values[1:]:
            try:
                texts.append(template.render(now | _with_tokens(other)))
            except Exception:
                texts.append(None)
        if any(text is not None and len(text) > MAX_CHARACTERS for text in texts):
            return {"error": f"the rendered prompt has more than {MAX_CHARACTERS} characters"}
        return {"texts": texts}


def _with_tokens(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values, with undefined ``bos_token`` and ``eos_token`` if they are missing."""
    return {"bos_token": _NO_TOKEN, "eos_token": _NO_TOKEN} | values


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {
        "raise_exception": _refuse,
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return environment


def _literals(tree: nodes.Node, kinds: tuple[type[nodes.Node], ...]) -> list[str]:
    """Return the strings within nodes of the given types."""
    found = {const.value for node in tree.find_all(kinds) for const in node.find_all(nodes.Const)}
    return sorted(value for value in found if isinstance(value, str) and value)


def _sought(tree: nodes.Node) -> list[str]:
    """Return the strings in ``'…' in text`` and in calls such as ``text.split('…')``."""
    searches: list[nodes.Node] = [
        argument
        for call in tree.find_all(nodes.Call)
        if isinstance(call.node, nodes.Getattr) and call.node.attr in _SEARCHES
        for argument in call.args
    ]
    searches += [
        comparison.expr
        for comparison in tree.find_all(nodes.Compare)
        if any(operand.op in ("in", "notin") for operand in comparison.ops)
    ]
    return sorted(
        {
            node.value
            for node in searches
            if isinstance(node, nodes.Const) and type(node.value) is str
        }
    )


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return plain JSON. Jinja2's own ``tojson`` filter would escape it for HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


class _Generation(Extension):
    """Extension for ``{% generation %} … {% endgeneration %}``, which writes its body unchanged.

    The block marks training targets. Its body has a separate scope, as the body of a call block
    does.
    """

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        """Parse the block into a node that writes its body."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Any) -> Any:
        return caller()


class _Dict:
    """A ``dict`` function for templates that does not expose the attributes of Python's type."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args, **kwargs)


class _Namespace(Namespace):
    """A ``namespace`` that rejects attributes whose names begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        # Any keyword may be a name, even "self".
        self, *given = args
        values = dict(*given, **kwargs)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace must not have the attribute {name!r}")


class _NoToken(jinja2.Undefined):
    """Value of a missing special token. It is undefined, but empty when concatenated."""

    def __add__(self, other: Any) -> Any:
        return other

    __radd__ = __add__


_NO_TOKEN = _NoToken(name="bos_token or eos_token")


if __name__ == "__main__":
    main()
