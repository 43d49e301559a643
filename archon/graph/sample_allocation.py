"""Allocation of sample indices to nodes.

A sample is a function of (seed, model, prompt, sampling, k), not of a node's name: two nodes with
the same request and the same k get the same text. So nodes equal in type, method, model, prompt and
sampling form a *group*. Its members get consecutive ranges of k, in the order of declaration; run j
of an architecture adds j times the group's total. Ten equal generators then give ten different
texts, and two architectures that ask for the same samples get the same texts.

The nodes of a nested architecture belong to the same groups as the outer nodes. They take the
position of the node whose model the architecture is, once for each sample of that node.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

Path = tuple[str, ...]
"""The names of the outer nodes, then the node's name."""


@dataclass(frozen=True, slots=True)
class Member:
    """A node as a member of its group."""

    node: str
    group: Hashable
    """Equal for nodes of one group."""
    count: int
    """Samples of one run; 1 for a judge."""
    nested: tuple[Member, ...] | None = None
    """The members of the architecture that is this node's model, if any."""


@dataclass(frozen=True, slots=True)
class SampleRange:
    """The sample indices of one node, which start at ``start(run)``."""

    first: int
    """The start of run 0."""
    total: int
    """Distance between the starts of outermost runs: the samples of the group in one run."""
    steps: tuple[tuple[int, int], ...] = ()
    """For a nested node, innermost first: (samples of the outer node, step for each)."""

    def start(self, run: int) -> int:
        """Return the first sample index of a run of the node's own architecture.

        The runs of a nested architecture are numbered consecutively: an outer node with m samples
        asks in its run j for the runs j·m to j·m + m - 1.
        """
        start = self.first
        for samples, step in self.steps:
            run, sample = divmod(run, samples)
            start += sample * step
        return start + run * self.total


SamplePlan = Mapping[Path, SampleRange]


def plan_samples(members: Sequence[Member]) -> SamplePlan:
    """Return the sample indices of every node, including nested ones."""
    ranges, totals = _ranges(members)
    return {path: replace(span, total=totals[group]) for path, (group, span) in ranges.items()}


def nested_plan(plan: SamplePlan, node: str) -> SamplePlan:
    """Return the part of a plan for the architecture that is the model of ``node``."""
    return {path[1:]: span for path, span in plan.items() if len(path) > 1 and path[0] == node}


def _ranges(
    members: Sequence[Member],
) -> tuple[dict[Path, tuple[Hashable, SampleRange]], dict[Hashable, int]]:
    """Return each node's group and range in one run, and the samples of each group in one run."""
    ranges: dict[Path, tuple[Hashable, SampleRange]] = {}
    totals: dict[Hashable, int] = {}

    def reserve(group: Hashable, count: int) -> int:
        first = totals.get(group, 0)
        totals[group] = first + count
        return first

    for member in members:
        if member.nested is None:
            first = reserve(member.group, member.count)
            ranges[(member.node,)] = (member.group, SampleRange(first, 0))
            continue
        runs = object()  # each occurrence of an architecture has its own group of runs
        ranges[(member.node,)] = (runs, SampleRange(reserve(runs, member.count), 0))
        inner, inner_totals = _ranges(member.nested)
        starts = {g: reserve(g, member.count * total) for g, total in inner_totals.items()}
        for path, (group, span) in inner.items():
            step = (member.count, inner_totals[group])
            moved = SampleRange(starts[group] + span.first, 0, (*span.steps, step))
            ranges[(member.node, *path)] = (group, moved)
    return ranges, totals
