"""Allocate sample indices to nodes.

A sample depends on (seed, model, prompt, sampling parameters, k) and not on the node's name: two
nodes with the same request and the same sample index k get the same text. Nodes with the same type,
method, model, prompt and sampling parameters therefore form a *group*, whose members are assigned
consecutive ranges of k, in file order. For run j of an architecture, all ranges are shifted by j
times the group's total. Ten equal generators thus write ten different texts, and two architectures
that request the same samples get the same texts.

The nodes of a nested architecture belong to the same groups as the outer nodes. In the order of
ranges, they take the position of the node that contains the architecture, once for each sample of
that node.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

Path = tuple[str, ...]
"""The names of the nodes that contain a nested node, outermost first, then its own name."""


@dataclass(frozen=True, slots=True)
class Member:
    """A node as a member of a sample group."""

    node: str
    group: Hashable
    """Equal for nodes of one group."""
    count: int
    """Number of samples that the node makes in one run; 1 for a judge."""
    nested: tuple[Member, ...] | None = None
    """The members of the architecture that is this node's model, if any."""


@dataclass(frozen=True, slots=True)
class SampleRange:
    """The sample indices of one node; ``start(run)`` is the first one of a run."""

    first: int
    """The first index of run 0."""
    total: int
    """Step from one run of the outermost architecture to the next: the group's number of
    samples."""
    steps: tuple[tuple[int, int], ...] = ()
    """For each outer node, innermost first: (its samples, step from one sample to the next)."""

    def start(self, run: int) -> int:
        """Return the node's first sample index in a run of the architecture that contains it.

        The runs of a nested architecture are numbered consecutively: if the outer node makes m
        samples, its run j consists of the runs j·m to j·m + m - 1 of the nested architecture.
        """
        start = self.first
        for samples, step in self.steps:
            run, sample = divmod(run, samples)
            start += sample * step
        return start + run * self.total


SamplePlan = Mapping[Path, SampleRange]


def plan_samples(members: Sequence[Member]) -> SamplePlan:
    """Return path → sample indices of every node, including nested ones."""
    ranges, totals = _ranges(members)
    return {path: replace(span, total=totals[group]) for path, (group, span) in ranges.items()}


def nested_plan(plan: SamplePlan, node: str) -> SamplePlan:
    """Return the plan of the architecture that is the model of ``node``, from the outer plan."""
    return {path[1:]: span for path, span in plan.items() if len(path) > 1 and path[0] == node}


def _ranges(
    members: Sequence[Member],
) -> tuple[dict[Path, tuple[Hashable, SampleRange]], dict[Hashable, int]]:
    """Return path → (group, range in one run), and group → its number of samples in one run."""
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
