"""The paper's rules for layered architectures (arXiv 2409.15254). Broken rules become remarks.

===============================  ================================================================
one_type_a_layer                 all components of a layer have the same type
generators_first                 the first layer consists of generators, which occur nowhere else
one_judge_a_layer                only generators and fusers may occur several times in a layer
critic_before_reader             a critic precedes a ranker or fuser that reads its critiques
test_generator_before_evaluator  the layer before a test evaluator has its test generator
===============================  ================================================================
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
            yield layer, f"the layer mixes {' and '.join(types)}; their outputs are joined"


def generators_first(layers: Sequence[Layer]) -> Iterator[tuple[Layer | Component, str]]:
    has_generators = False
    for position, layer in enumerate(layers):
        for component in layer.components:
            if position == 0 and component.type != "generator":
                yield component, f"a {component.type} in the first layer"
            elif position > 0 and component.type == "generator":
                effect = "; its answers join the earlier answers" if has_generators else ""
                yield component, f"a generator after the first layer{effect}"
        has_generators = has_generators or "generator" in layer.types()


def one_judge_a_layer(layers: Sequence[Layer]) -> Iterator[tuple[Layer | Component, str]]:
    for layer in layers:
        for name, count in Counter(layer.types()).items():
            if count > 1 and name not in ("generator", "fuser"):
                yield layer, f"the layer has {count} components of type {name}"


def critic_before_reader(layers: Sequence[Layer]) -> Iterator[tuple[Layer | Component, str]]:
    unread: list[Component] = []
    """Critics whose critiques have not been read yet."""
    has_critiques = False
    for layer in layers:
        for component in layer.components:
            if component.data.get("use_critiques") is True and not has_critiques:
                yield component, f"the {component.type} reads critiques, but no critic precedes it"
        types = layer.types()
        if "ranker" in types or "fuser" in types:
            unread.clear()
        unread += [component for component in layer.components if component.type == "critic"]
        has_critiques = "critic" in types or (has_critiques and set(types) != {"fuser"})
    for critic in unread:
        yield critic, "no later ranker or fuser reads its critiques"


def test_generator_before_evaluator(
    layers: Sequence[Layer],
) -> Iterator[tuple[Layer | Component, str]]:
    for position, layer in enumerate(layers):
        previous = layers[position - 1].types() if position else []
        following = layers[position + 1].types() if position + 1 < len(layers) else []
        for component in layer.components:
            if component.type == TEST_WRITER and TEST_READER not in following:
                effect = (
                    "in the original all later components see its tests, in Archon only evaluators"
                )
                yield component, f"the next layer has no {TEST_READER}; {effect}"
            if component.type == TEST_READER and TEST_WRITER not in previous:
                yield component, f"the previous layer has no {TEST_WRITER}"


RULES: tuple[Rule, ...] = (
    one_type_a_layer,
    generators_first,
    one_judge_a_layer,
    critic_before_reader,
    test_generator_before_evaluator,
)


def broken_rules(layers: Sequence[Layer]) -> Iterator[Remark]:
    """Yield a remark for each layer or component that breaks a rule, one rule after another."""
    for rule in RULES:
        for broken, reason in rule(layers):
            yield Remark(rule.__name__, broken.path, reason)
