"""What passes along the edges of a graph, computed from its spec alone.

Validation, bindings of models, the cost estimate and so the server's token limit all read it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from archon.graph.nodes.declaration import Calls, Method
from archon.graph.nodes.registry import method_of
from archon.spec.architecture import AnyNode, ArchitectureSpec


@dataclass(frozen=True, slots=True)
class Flow:
    """Candidates on an edge, and what comes with them."""

    counts: Mapping[str, float] = field(default_factory=dict)
    """Writer → number of its candidates at most."""
    limit: float = math.inf
    critics: frozenset[str] = frozenset()
    """Nodes whose critiques may come along."""
    has_critiques: bool = False
    """Whether critiques come along if every condition is true."""
    testers: frozenset[str] = frozenset()
    """Nodes whose tests of the question come along."""
    is_scored: bool = False
    """Whether every candidate is sure to have a score."""
    has_support: bool = False
    """Whether a candidate's latest score may be the support of a vote."""

    @property
    def total(self) -> float:
        """Number of candidates at most."""
        return min(self.limit, sum(self.counts.values()))

    @classmethod
    def joined(cls, flows: Sequence[Flow], written: Mapping[str, float]) -> Flow:
        """The union by identity.

        Different edges may bring different candidates of one writer, or the same; ``written`` is
        the number that each writer has written.
        """
        if len(flows) == 1:
            return flows[0]
        writers = dict.fromkeys(writer for flow in flows for writer in flow.counts)
        return cls(
            {w: min(written[w], sum(f.counts.get(w, 0) for f in flows)) for w in writers},
            sum(flow.total for flow in flows),
            frozenset().union(*(flow.critics for flow in flows)),
            any(flow.has_critiques for flow in flows),
            frozenset().union(*(flow.testers for flow in flows)),
            bool(flows) and all(flow.is_scored for flow in flows),
            any(flow.has_support for flow in flows),
        )

    def either(self, other: Flow, *, is_mean: bool) -> Flow:
        """A bound on the flow from a node that runs and on ``other``, its input; or their mean."""

        def combined(a: float, b: float) -> float:
            return (a + b) / 2 if is_mean else max(a, b)

        writers = {**self.counts, **other.counts}
        return Flow(
            {w: combined(self.counts.get(w, 0), other.counts.get(w, 0)) for w in writers},
            combined(self.total, other.total),
            self.critics | other.critics,
            self.has_critiques,
            self.testers | other.testers,
            self.is_scored and other.is_scored,
            self.has_support or other.has_support,
        )

    def at_most(self, count: int | None) -> Flow:
        """The first ``count`` candidates."""
        if count is None or self.total <= count:
            return self
        return replace(self, counts={w: min(c, count) for w, c in self.counts.items()}, limit=count)


@dataclass(frozen=True, slots=True)
class Dataflow:
    """The flow into and out of every node."""

    arriving: Mapping[str, Flow]
    leaving: Mapping[str, Flow]
    written: Mapping[str, float]
    """Number of candidates that each writer writes."""


def dataflow(
    spec: ArchitectureSpec,
    order: Iterable[str],
    *,
    agreement: float | None = None,
    may_be_cut: bool = False,
) -> Dataflow:
    """Follow candidates, critiques, tests and scores through the graph.

    Parameters
    ----------
    order
        The nodes, each after its inputs.
    agreement
        The share of samples that agree, for the expected flow: conditions are true half of the
        time. None for the largest flow: every node runs, writes all it can and drops no more than
        it must.
    may_be_cut
        A budget may make any node pass on what it reads.
    """
    is_mean = agreement is not None
    arriving: dict[str, Flow] = {}
    leaving: dict[str, Flow] = {}
    written: dict[str, float] = {}
    for name in order:
        node = spec.nodes[name]
        method = method_of(node)
        sources = [leaving[source] for source in node.inputs]
        flow = arriving[name] = Flow.joined(sources, written)
        if method.writes:
            written[name] = num_calls(method.calls(node, math.ceil(flow.total)), agreement)
        passed = _passed_on(name, node, method, flow, written, is_mean)
        if node.when is not None or (may_be_cut and not is_mean):
            passed = passed.either(flow, is_mean=is_mean)
        leaving[name] = passed
    return Dataflow(arriving, leaving, written)


def num_calls(calls: Calls, agreement: float | None) -> float:
    """The expected number of calls if this share of samples agree; the most without it."""
    if agreement is None or calls.expected is None:
        return calls.count
    return calls.expected(agreement)


def _passed_on(
    name: str,
    node: AnyNode,
    method: Method[Any],
    flow: Flow,
    written: Mapping[str, float],
    is_mean: bool,
) -> Flow:
    """What a node that runs passes on of a flow."""
    if method.replaces:
        flow = Flow(testers=flow.testers)
    if method.usual_share < 1 and is_mean:
        flow = flow.at_most(math.ceil(flow.total * method.usual_share))
    if method.keeps is not None:
        flow = flow.at_most(method.keeps(node))
    if method.writes:
        flow = Flow.joined([flow, Flow({name: written[name]})], written)
    if method.scores is not None:
        flow = replace(flow, is_scored=True, has_support=method.scores == "support")
    if method.critiques:
        flow = replace(flow, critics=flow.critics | {name}, has_critiques=True)
    if method.writes_tests is not None:
        flow = replace(flow, testers=flow.testers | {name})
    return flow
