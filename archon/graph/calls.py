"""How many calls a node makes, told from what it will read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from archon.graph.nodes.pairwise import most_pairs
from archon.spec.architecture import AskingNode, FuserNode, GeneratorNode


@dataclass(frozen=True, slots=True)
class Calls:
    """So many calls, each with a prompt of its own that shows so many candidates."""

    count: int
    shown: int


JUDGES: Mapping[tuple[str, str], Callable[[int], Calls]] = {
    ("critic", "reason"): lambda n: Calls(min(n, 1), n),
    ("critic", "equations"): lambda n: Calls(0, 0),
    ("ranker", "listwise"): lambda n: Calls(int(n > 1), n),
    ("ranker", "pairwise"): lambda n: Calls(2 * most_pairs(n), 2),
    ("ranker", "logit"): lambda n: Calls(n, 1),
    ("ranker", "likelihood"): lambda n: Calls(n, 1),
    ("ranker", "reward"): lambda n: Calls(0, 1),
    ("verifier", "reason"): lambda n: Calls(n, 1),
    ("verifier", "logit"): lambda n: Calls(n, 1),
    ("verifier", "reward"): lambda n: Calls(0, 1),
    ("unit_test_generator", "reason"): lambda n: Calls(1, 0),
    ("unit_test_generator", "program"): lambda n: Calls(1, 0),
    ("unit_test_evaluator", "reason"): lambda n: Calls(n, 1),
    ("unit_test_evaluator", "program"): lambda n: Calls(0, 0),
    ("verifier", "equations"): lambda n: Calls(0, 0),
    ("verifier", "program"): lambda n: Calls(0, 0),
}
"""(Type, method) of a judge → from how many candidates it reads to its calls; a reward model is
asked outside of calls."""


def calls_of(node: AskingNode, num_inputs: int) -> Calls:
    """The most calls of a node that reads so many candidates.

    All samples of a generator or a fuser have one prompt.
    """
    match node:
        case GeneratorNode():
            return Calls(node.samples, num_inputs)
        case FuserNode():
            return Calls(node.samples if num_inputs else 0, num_inputs)
        case _:
            return JUDGES[node.type, node.method](num_inputs)


def least_calls(node: AskingNode, num_inputs: int) -> int:
    """The calls without which a node cannot begin: all of a judge's; others draw what they may."""
    if isinstance(node, GeneratorNode | FuserNode):
        return 0
    return calls_of(node, num_inputs).count
