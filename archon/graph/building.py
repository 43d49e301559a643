"""Build architectures in Python. The result is the JSON of an architecture file.

A method per shipped node type adds a node; its parameters are the keys of the node in the file
(``archon.spec.architecture``), so a file and a program say the same. Node types of plug-ins are
methods too, found in the registry.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from archon.errors import UsageError
from archon.graph.answer import Answer
from archon.graph.architecture import Architecture
from archon.graph.loading import Loader, ModelChoice
from archon.graph.nodes.registry import NODE_TYPES
from archon.spec.messages import shown, suggestion
from archon.spec.reader import Reference, load_architecture
from archon.storage.atomic import write_json
from archon.types import AnswerKind, Question

DEFAULT_MODEL = "qwen2.5-coder-0.5b"
"""The model of roles that no model is given for, as in the shipped architectures."""
Keys = Mapping[str, Any]
"""A JSON object of the file, such as a prompt: ``{"template": "cot", "shots": 4}``."""
Inputs = str | Sequence[str] | None


class GraphBuilder:
    """An architecture that is being built. Make one with ``archon.graph``.

    ::

        graph = archon.graph("vote-of-8").generator("draft", samples=8).vote("answer")
        print(graph.run("What is 17 * 23?").value)
        graph.save("vote-of-8.json")

    Each method returns a new builder with one more node, so a common beginning can be continued in
    several ways. A node reads the node that was added before it, unless ``inputs`` names others;
    ``inputs=[]`` makes it read none. The node that was added last is the output, unless ``output``
    names another. Keys that are not given are not in the file, and have its defaults.

    A node that writes answers uses the role ``solver``, and a judge the role ``judge``, unless
    ``model`` names another role. A role without a model gets the model of the shipped
    architectures.

    Parameters
    ----------
    keys
        The keys of the architecture's file, as JSON data.
    models
        Role → a custom model, which a file cannot contain.
    """

    def __init__(self, keys: Keys, models: Mapping[str, ModelChoice] | None = None) -> None:
        self._keys: dict[str, Any] = {"version": 1, "models": {}, "nodes": {}, **keys}
        self._models = dict(models or {})

    @classmethod
    def load(cls, ref: Reference) -> GraphBuilder:
        """Return a builder with the contents of an architecture's file.

        Parameters
        ----------
        ref
            A catalogue name, the path of a file, or the contents of a file as a dict.

        Raises
        ------
        SpecError
            The file is missing or invalid.
        """
        loaded = load_architecture(ref)
        data = loaded.spec.model_dump(mode="json", exclude_unset=True)
        return cls({key: value for key, value in data.items() if key != "$schema"})

    # ------------------------------------------------------------------------------ node types

    def generator(
        self,
        id: str,
        *,
        model: str | None = None,
        samples: int | None = None,
        prompt: Keys | None = None,
        sampling: Keys | None = None,
        stop_when: Keys | None = None,
        inputs: Inputs = None,
        **keys: Any,
    ) -> GraphBuilder:
        """Add a generator, which samples answers to the question (``samples``, by default 1).

        ``keys`` are the other keys of every node: ``when`` and the keys about thinking.
        """
        return self.node(id, "generator", **_given(locals()))

    def critic(
        self,
        id: str,
        *,
        model: str | None = None,
        method: Literal["reason", "equations"] | None = None,
        prompt: Keys | None = None,
        sampling: Keys | None = None,
        inputs: Inputs = None,
        **keys: Any,
    ) -> GraphBuilder:
        """Add a critic, which lists strengths and weaknesses of every candidate."""
        return self.node(id, "critic", **_given(locals()))

    def ranker(
        self,
        id: str,
        *,
        model: str | None = None,
        method: Literal["listwise", "pairwise", "logit", "likelihood", "reward"] | None = None,
        keep: int | None = None,
        prompt: Keys | None = None,
        sampling: Keys | None = None,
        inputs: Inputs = None,
        **keys: Any,
    ) -> GraphBuilder:
        """Add a ranker, which orders candidates and keeps the best ``keep``.

        ``keys`` may also have ``shows`` and ``use_critiques``.
        """
        return self.node(id, "ranker", **_given(locals()))

    def fuser(
        self,
        id: str,
        *,
        model: str | None = None,
        samples: int | None = None,
        use_critiques: bool | None = None,
        prompt: Keys | None = None,
        sampling: Keys | None = None,
        inputs: Inputs = None,
        **keys: Any,
    ) -> GraphBuilder:
        """Add a fuser, which combines several candidates into one better answer."""
        return self.node(id, "fuser", **_given(locals()))

    def verifier(
        self,
        id: str,
        *,
        model: str | None = None,
        method: Literal["reason", "logit", "reward", "equations", "program"] | None = None,
        threshold: float | None = None,
        keep_first: int | None = None,
        prompt: Keys | None = None,
        inputs: Inputs = None,
        **keys: Any,
    ) -> GraphBuilder:
        """Add a verifier, which judges candidates and removes the wrong ones.

        ``keys`` may also have ``sampling`` and ``shows``.
        """
        return self.node(id, "verifier", **_given(locals()))

    def unit_test_generator(
        self,
        id: str,
        *,
        model: str | None = None,
        method: Literal["reason", "program"] | None = None,
        max_tests: int | None = None,
        prompt: Keys | None = None,
        inputs: Inputs = None,
        **keys: Any,
    ) -> GraphBuilder:
        """Add a node that writes unit tests for the question."""
        return self.node(id, "unit_test_generator", **_given(locals()))

    def unit_test_evaluator(
        self,
        id: str,
        *,
        model: str | None = None,
        method: Literal["reason", "program"] | None = None,
        keep: int | None = None,
        prompt: Keys | None = None,
        inputs: Inputs = None,
        **keys: Any,
    ) -> GraphBuilder:
        """Add a node that orders candidates by the share of the question's tests they pass."""
        return self.node(id, "unit_test_evaluator", **_given(locals()))

    def vote(
        self,
        id: str,
        *,
        weight: Literal["count", "score", "odds", "likelihood"] | None = None,
        by: Literal["value", "meaning"] | None = None,
        model: str | None = None,
        similarity: float | None = None,
        inputs: Inputs = None,
        **keys: Any,
    ) -> GraphBuilder:
        """Add a vote, which keeps the first candidate of each value, most votes first."""
        return self.node(id, "vote", **_given(locals()))

    def program(
        self,
        id: str,
        *,
        seconds: float | None = None,
        memory_bytes: int | None = None,
        output_bytes: int | None = None,
        inputs: Inputs = None,
        **keys: Any,
    ) -> GraphBuilder:
        """Add a node that runs every candidate's program in the sandbox."""
        return self.node(id, "program", **_given(locals()))

    def join(self, id: str, *, inputs: Inputs = None, **keys: Any) -> GraphBuilder:
        """Add a node that joins the candidates of its inputs."""
        return self.node(id, "join", **_given(locals()))

    def node(self, id: str, type: str, *, inputs: Inputs = None, **keys: Any) -> GraphBuilder:
        """Add a node of any type, also one of a plug-in.

        Parameters
        ----------
        id
            The name of the node.
        type
            The node type.
        inputs
            The nodes that it reads: an id, a list of ids, or None for the node added before it.
        keys
            The other keys of the node, as in a file.

        Raises
        ------
        UsageError
            The type does not exist, or a node has this id already.
        """
        if type not in NODE_TYPES:
            hint = suggestion(type, sorted(NODE_TYPES))
            raise UsageError(f"there is no node type {shown(type)}{hint}")
        nodes: dict[str, Any] = self._keys["nodes"]
        if id in nodes:
            raise UsageError(f"the graph already has a node {shown(id)}; choose another id")
        if inputs is None:
            inputs = list(nodes)[-1:]
        inputs = [inputs] if isinstance(inputs, str) else list(inputs)
        data = {"type": type, **keys}
        if "model" not in keys and (role := _role(data)) is not None:
            data["model"] = role
        if inputs:
            data["inputs"] = inputs
        role = data.get("model")
        models = self._keys["models"]
        if isinstance(role, str) and role not in models and role not in self._models:
            models = {**models, role: DEFAULT_MODEL}
        return self._with(nodes={**nodes, id: data}, models=models)

    def __getattr__(self, name: str) -> Callable[..., GraphBuilder]:
        if name in NODE_TYPES:
            return lambda id, **keys: self.node(id, name, **keys)
        raise AttributeError(f"a graph has no method or node type {name!r}")

    # ---------------------------------------------------------------------------- the whole file

    def output(self, id: str) -> GraphBuilder:
        """Set the node whose first candidate is the answer; by default, the last one."""
        return self._with(output=id)

    def models(
        self, models: Mapping[str, ModelChoice] | None = None, **roles: ModelChoice
    ) -> GraphBuilder:
        """Set the models of roles: model strings, cards, or custom models such as functions."""
        given = {**(models or {}), **roles}
        in_file = {role: model for role, model in given.items() if isinstance(model, str | dict)}
        files = {r: os.fspath(m) for r, m in given.items() if isinstance(m, os.PathLike)}
        custom = {r: m for r, m in given.items() if r not in in_file and r not in files}
        declared = {r: m for r, m in self._keys["models"].items() if r not in custom}
        new = self._with(models={**declared, **in_file, **files})
        kept = {role: model for role, model in self._models.items() if role not in given}
        new._models = {**kept, **custom}
        return new

    def budget(
        self,
        *,
        max_tokens: int | None = None,
        max_calls: int | None = None,
        max_seconds: float | None = None,
        max_compute: float | None = None,
    ) -> GraphBuilder:
        """Limit the cost of one question."""
        return self._with(budget=_given(locals()))

    def to_json(self) -> dict[str, Any]:
        """Return the contents of the architecture's file.

        Raises
        ------
        UsageError
            There is no node, or a role has a custom model, which a file cannot contain.
        """
        if self._models:
            roles = ", ".join(sorted(self._models))
            raise UsageError(
                f"the model of {roles} is an object, which a file cannot contain; give the role a "
                "model string, and pass the object to archon.load(..., models=...)"
            )
        return self._file()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the architecture's file, after checking it; return its path.

        Raises
        ------
        SpecError, GraphError
            The architecture is invalid.
        UsageError
            A role has a custom model.
        StorageError
            The file cannot be written.
        """
        data = self.to_json()
        self.build()
        write_json(Path(path), data)
        return Path(path)

    def build(self, models: Mapping[str, ModelChoice] | None = None) -> Architecture:
        """Return the architecture.

        Parameters
        ----------
        models
            Role → the model that replaces that of the graph (see ``archon.load``).

        Raises
        ------
        SpecError, GraphError
            The architecture is invalid; the error names the JSON path in the file.
        """
        return Loader().architecture(self._file(), {**self._models, **(models or {})})

    def run(self, question: str | Question, *, seed: int = 0) -> Answer:
        """Build the architecture and answer a question; see ``Architecture.run``."""
        return self.build().run(question, seed=seed)

    def __repr__(self) -> str:
        nodes = ", ".join(f"{id} ({node['type']})" for id, node in self._keys["nodes"].items())
        return f"<GraphBuilder {self._keys.get('name', 'graph')}: {nodes or 'no nodes'}>"

    def _repr_html_(self) -> str:
        """Return the drawn graph, if it is valid so far; otherwise what is missing."""
        from html import escape

        try:
            return self.build()._repr_html_()
        except Exception as error:  # a notebook shows a graph that is not finished
            return f"<div><p>{escape(repr(self))}</p><p>{escape(str(error))}</p></div>"

    def _file(self) -> dict[str, Any]:
        nodes = self._keys["nodes"]
        if not nodes:
            raise UsageError('the graph has no nodes; add one, for example .generator("draft")')
        placeholders = dict.fromkeys(self._models, "scripted")  # ``build`` replaces them
        models = {**self._keys["models"], **placeholders}
        file = {**self._keys, "models": models, "output": self._keys.get("output", [*nodes][-1])}
        order = [key for key in _ORDER if key in file]
        rest = [key for key in file if key not in _ORDER]
        data: dict[str, Any] = json.loads(json.dumps({key: file[key] for key in (*order, *rest)}))
        return data

    def _with(self, **keys: Any) -> GraphBuilder:
        return GraphBuilder({**copy.deepcopy(self._keys), **keys}, self._models)


_ORDER = ("version", "name", "description", "models", "nodes", "output", "answer", "budget")


def graph(
    name: str = "graph",
    *,
    description: str = "",
    models: Mapping[str, ModelChoice] | None = None,
    answer: AnswerKind | None = None,
    budget: Keys | None = None,
    serve: Keys | None = None,
) -> GraphBuilder:
    """Start an architecture; see ``GraphBuilder``.

    Parameters
    ----------
    name
        Name of the architecture.
    description
        A sentence about it.
    models
        Role → its model; roles that are not given have the model of the shipped architectures.
    answer
        Type of the answers; by default ``number``.
    budget
        Limits for one question, such as ``{"max_calls": 64}``.
    serve
        Settings for requests to the architecture as a language model.
    """
    given = {"description": description, "answer": answer, "budget": budget, "serve": serve}
    keys = {key: value for key, value in given.items() if value}
    return GraphBuilder({"name": name, **keys}).models(models)


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a node's method that are given, without the builder and the id."""
    keys = arguments.get("keys") or {}
    left_out = ("self", "id", "keys")
    given = {k: v for k, v in arguments.items() if k not in left_out and v is not None}
    return {**given, **keys}


def _role(data: Mapping[str, Any]) -> str | None:
    """Return the usual role of a node's model; None if its method needs no language model."""
    declared = NODE_TYPES[data["type"]]
    key = declared.chosen_by
    default = declared.spec.model_fields[key].default if key else ""
    method = declared.methods.get(data.get(key, default) if key else "")
    if method is None or method.prompt is None or method.without_model is not None:
        return None
    return "solver" if declared.effects.writes else "judge"
