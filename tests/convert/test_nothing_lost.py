"""Every key of a layered file is carried to the architecture or listed as lost."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from layered_files import component

import archon
from archon.convert import Conversion, convert
from archon.convert.component_keys import ALL_KEYS, NODE_CLASSES
from archon.convert.layers import TYPES
from archon.convert.servers import PAIR_RM, SERVERS
from archon.spec.strict_json import JsonPath

NEUTRAL = {
    "samples": 1,
    "branches": 1,
    "no_system": False,
    "custom": False,
    "length_control": False,
    "first_pass": False,
    "remove_unit_tests_from_prompt": True,
}
"""Values that have the same effect as omitting the key."""

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 20),
    st.floats(0, 2),
    st.sampled_from(["", "gpt", "OpenAI_API", "vLLM", "tgi", "http://localhost/v1", "generator"]),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.sampled_from(["type", "model", "x"]), st.integers(0, 3), max_size=2),
)
STRANGE_KEYS = ("tempreature", "sampels", "top-k", "x")
KEYS = st.one_of(st.sampled_from(sorted(ALL_KEYS)), st.sampled_from(STRANGE_KEYS))
COMPONENTS = st.builds(
    lambda kind, model, server, keys: {
        **component(kind, model, model_type=server),
        **keys,
    },
    st.sampled_from(TYPES),
    st.sampled_from(["a", "b", "llm-blender/PairRM"]),
    st.sampled_from(["OpenAI_API", "vLLM", "Bedrock_API", "none"]),
    st.dictionaries(KEYS, VALUES, min_size=1, max_size=6),
)
MEMBERS = st.lists(st.one_of(COMPONENTS, COMPONENTS, COMPONENTS, VALUES), max_size=3)
LAYERS = st.one_of(
    MEMBERS,
    COMPONENTS,
    st.fixed_dictionaries({"branches": VALUES, "models": MEMBERS}),
    st.dictionaries(st.sampled_from(["branches", "models", "x"]), VALUES),
    VALUES,
)
FILES = st.builds(
    lambda opening, layers, keys: {
        **keys,
        "layers": [*opening, [component("generator")], *layers],
    },
    st.lists(LAYERS, max_size=1),
    st.lists(LAYERS, max_size=4),
    st.dictionaries(st.sampled_from(["name", "custom", "save_path"]), VALUES),
)


def places(data: dict[str, Any]) -> Iterator[JsonPath]:
    """Yield the paths of all keys of a file, its layers and components, and of members of layers.

    The key ``layers`` is excluded.
    """
    yield from ((key,) for key in data if key != "layers")
    for i, layer in enumerate(data["layers"]):
        path: JsonPath = ("layers", i)
        if isinstance(layer, dict):
            yield from ((*path, key) for key in layer if key != "models")
            path, layer = (*path, "models"), layer.get("models")
        for k, member in enumerate(layer if isinstance(layer, list) else []):
            if isinstance(member, dict) and member:
                yield from ((*path, k, key) for key in member)
            else:
                yield (*path, k)


def value_at(data: Any, path: JsonPath) -> Any:
    for step in path:
        data = data[step]
    return data


def without(data: dict[str, Any], path: JsonPath) -> dict[str, Any]:
    changed = copy.deepcopy(data)
    del value_at(changed, path[:-1])[path[-1]]
    return changed


def is_reported(conversion: Conversion, data: dict[str, Any], path: JsonPath) -> bool:
    """Return True if the conversion lists the key, or the architecture depends on it."""
    value = value_at(data, path)
    if path[-1] == "model_type":  # the address of vLLM is also where unknown servers are put
        return value in SERVERS or (value == "" and value_at(data, path[:-1])["model"] == PAIR_RM)
    if value is None or (path[-1] in NEUTRAL and value == NEUTRAL[str(path[-1])]):
        return True
    try:
        return convert(without(data, path)).architecture != conversion.architecture
    except archon.SpecError:
        return True


def check_that_nothing_is_lost(data: dict[str, Any]) -> None:
    conversion = convert(data)
    listed = {loss.path for loss in conversion.losses}
    for path in places(data):
        on_the_way = {path[: n + 1] for n in range(len(path))}
        assert on_the_way & listed or is_reported(conversion, data, path), path


@settings(max_examples=150, deadline=None)
@given(FILES)
def test_every_key_of_a_file_is_carried_or_listed(data: dict[str, Any]) -> None:
    before = copy.deepcopy(data)
    check_that_nothing_is_lost(data)
    assert data == before


@settings(max_examples=300, deadline=None)
@given(COMPONENTS, st.booleans())
def test_every_key_of_a_component_is_carried_or_listed(last: dict[str, Any], critic: bool) -> None:
    middle = [component("critic" if critic else "unit_test_generator")]
    check_that_nothing_is_lost({"layers": [[component("generator", samples=4)], middle, [last]]})


@settings(max_examples=100, deadline=None)
@given(FILES)
def test_every_written_architecture_validates(data: dict[str, Any]) -> None:
    architecture = convert(data).architecture
    if all(node["type"] in NODE_CLASSES for node in architecture["nodes"].values()):
        archon.load(architecture)


@settings(max_examples=100, deadline=None)
@given(FILES)
def test_nothing_is_listed_that_is_not_in_the_file(data: dict[str, Any]) -> None:
    for loss in convert(data).losses:
        value_at(data, loss.path)
        assert loss.reason
