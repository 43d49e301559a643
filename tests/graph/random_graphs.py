"""Random architectures for property tests: every type of node, conditions, stopping, budgets."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from archon.types import Request

SAMPLING = st.fixed_dictionaries({"max_tokens": st.integers(4, 40)})
WHEN = st.none() | st.one_of(
    st.fixed_dictionaries({"agreement_below": st.sampled_from([0.3, 0.6, 1.0])}),
    st.fixed_dictionaries({"num_passed": st.integers(0, 2)}),
)
STOP_WHEN = st.none() | st.fixed_dictionaries(
    {"confidence": st.sampled_from([0.7, 0.95, 1.0]), "round": st.integers(1, 4)}
)
PARAMETERS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "generator": {"samples": st.integers(1, 6), "stop_when": STOP_WHEN},
    "critic": {},
    "ranker": {"keep": st.none() | st.integers(1, 3)},
    "fuser": {"samples": st.integers(1, 3)},
    "verifier": {"keep_first": st.none() | st.integers(1, 2)},
    "unit_test_generator": {"max_tests": st.integers(1, 3)},
    "unit_test_evaluator": {},
    "vote": {},
    "program": {},
    "join": {},
}
ASKING = (
    *("generator", "critic", "ranker", "fuser", "verifier"),
    *("unit_test_generator", "unit_test_evaluator"),
)

TESTER = "unit_test_generator"


@st.composite
def nodes(draw: st.DrawFn) -> tuple[dict[str, dict[str, Any]], str]:
    """Nodes by id and the output, which reads all nodes without another reader."""
    names: dict[str, dict[str, Any]] = {}
    for i in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(list(PARAMETERS))) if names else "generator"
        inputs = []
        if names and (kind != "generator" or draw(st.booleans())):
            inputs = draw(st.lists(st.sampled_from(list(names)), min_size=1, unique=True))
        if kind == "unit_test_evaluator":
            testers = [name for name, node in names.items() if node["type"] == TESTER]
            inputs = list(dict.fromkeys([*inputs, *testers[:1]]))
            kind = kind if testers else "join"
        node: dict[str, Any] = {"type": kind, "inputs": inputs}
        node |= {name: draw(values) for name, values in PARAMETERS[kind].items()}
        if kind in ASKING:
            node["sampling"] = draw(SAMPLING)
        if inputs:
            node["when"] = draw(WHEN)
        names[f"n{i}"] = node
    read = {source for node in names.values() for source in node["inputs"]}
    loose = [name for name in names if name not in read]
    if len(loose) == 1:
        return names, loose[0]
    return {**names, "out": {"type": "vote", "inputs": loose}}, "out"


BUDGETS = st.fixed_dictionaries(
    {},
    optional={"max_tokens": st.integers(1, 2500), "max_calls": st.integers(1, 30)},
)


def wordy(seed: int) -> Any:
    """A script with a different reply for every prompt and sample, at various lengths."""

    def reply(request: Request, draw: int) -> str:
        number = hash((seed, request.messages[-1].content, draw))
        padding = "so it goes " * (number % 7)
        verdict = ("correct", "incorrect", "maybe")[number // 7 % 3]
        return f"{padding}[1] > [2] The answer is {number // 21 % 3}.\nVerdict: {verdict}"

    return reply
