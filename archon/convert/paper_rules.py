"""The paper's rules for an architecture in layers (arXiv 2409.15254), as remarks on a file.

===============================  =================================================================
one_type_a_layer                 the components of a layer are all of one type
generators_first                 generators stand in the first layer, and nowhere else
one_judge_a_layer                only generators and fusers stand beside others of their type
critic_before_reader             a critic stands before a ranker or fuser that reads its critiques
test_generator_before_evaluator  a test generator stands directly before its evaluator
===============================  =================================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from archon.convert.conversion_log import Remark
from archon.convert.layers import TEST_READER, TEST_WRITER, Component, Layer

Rule = Callable[[Sequence[Layer]], Iterator[tuple[Layer | Component, str]]]


def one_type_a_layer(layers: Sequence[Layer]) -> Iterator[tuple[Layer | Component, str]]:
    for layer in layers:
        types = list(dict.fromkeys(layer.types()))
        if len(types) > 1:
            yield layer, f"holds {' and '.join(types)}; what they leave is joined"


def generators_first(layers: Sequence[Layer]) -> Iterator[tuple[Layer | Component, str]]:
    joins = False
    for position, layer in enumerate(layers):
        for component in layer.components:
            if position == 0 and component.type != "generator":
                yield component, f"a {component.type} in the first layer"
            elif position > 0 and component.type == "generator":
                told = "; its answers join the earlier ones" if joins else ""
                yield component, f"a generator behind the first layer{told}"
        joins = joins or "generator" in layer.types()


def one_judge_a_layer(layers: Sequence[Layer]) -> Iterator[tuple[Layer | Component, str]]:
    for layer in layers:
        for name, count in Counter(layer.types()).items():
            if count > 1 and name not in ("generator", "fuser"):
                yield layer, f"holds {count} components of the type {name}"


def critic_before_reader(layers: Sequence[Layer]) -> Iterator[tuple[Layer | Component, str]]:
    critics: list[Component] = []
    """Those whose critiques have not been read yet."""
    arrive = False
    for layer in layers:
        for component in layer.components:
            if component.data.get("use_critiques") is True and not arrive:
                yield component, f"no critic before a {component.type} that reads critiques"
        types = layer.types()
        if "ranker" in types or "fuser" in types:
            critics.clear()
        new = [component for component in layer.components if component.type == "critic"]
        critics += new
        arrive = bool(new) or (arrive and set(types) != {"fuser"})
    for critic in critics:
        yield critic, "no ranker or fuser behind it reads its critiques"


def test_generator_before_evaluator(
    layers: Sequence[Layer],
) -> Iterator[tuple[Layer | Component, str]]:
    for position, layer in enumerate(layers):
        before = layers[position - 1].types() if position else []
        behind = layers[position + 1].types() if position + 1 < len(layers) else []
        for component in layer.components:
            if component.type == TEST_WRITER and TEST_READER not in behind:
                told = "there all components behind it see its tests, here the evaluator alone"
                yield component, f"no {TEST_READER} directly behind it; {told}"
            if component.type == TEST_READER and TEST_WRITER not in before:
                yield component, f"no {TEST_WRITER} directly before it"


RULES: tuple[Rule, ...] = (
    one_type_a_layer,
    generators_first,
    one_judge_a_layer,
    critic_before_reader,
    test_generator_before_evaluator,
)


def broken_rules(layers: Sequence[Layer]) -> Iterator[Remark]:
    """The broken rules, rule by rule, each with its place."""
    for rule in RULES:
        for place, reason in rule(layers):
            yield Remark(rule.__name__, place.path, reason)
