"""Which draws of its model each node asks for.

A draw is a function of (seed, model, prompt, sampling, k), not of a node's name: two nodes that ask
the same thing for the same k get the same text. So nodes equal in type, method, model, prompt and
sampling form a *group* whose members take consecutive ranges of k, in the order of declaration;
run j of an architecture adds j times the group's total. Ten equal generators then give ten
different drafts, and two architectures that ask for the same draws get the same texts.

The nodes of an architecture that serves as a node's model belong to the same groups as the nodes
around it, and count where that node stands, once for each of its samples.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

Path = tuple[str, ...]
"""A node's name, after the names of the nodes whose models it is nested in."""


@dataclass(frozen=True, slots=True)
class Member:
    """A node as its group sees it."""

    node: str
    group: Hashable
    """Equal for nodes of one group."""
    count: int
    """Draws it takes in one run: ``samples``, or 1 for a judge."""
    nested: tuple[Member, ...] | None = None
    """The members of the architecture that is this node's model, if one is."""


@dataclass(frozen=True, slots=True)
class DrawRange:
    """The draws of one node: ``count`` of them, from ``start(run)`` on."""

    first: int
    """Where run 0 starts."""
    total: int
    """How far each outermost run moves the start: draws of the whole group in one run."""
    steps: tuple[tuple[int, int], ...] = ()
    """For a nested node, innermost first: (samples of the node around it, how far each moves)."""

    def start(self, run: int) -> int:
        """The first draw of a run of the node's own architecture.

        The runs of a nested architecture are numbered through: the node around it, with m samples,
        asks in its own run j for the runs j·m to j·m + m - 1.
        """
        start = self.first
        for samples, step in self.steps:
            run, sample = divmod(run, samples)
            start += sample * step
        return start + run * self.total


DrawPlan = Mapping[Path, DrawRange]


def plan_draws(members: Sequence[Member]) -> DrawPlan:
    """The draws of every node, nested ones included."""
    placed, totals = _place(members)
    return {path: replace(draws, total=totals[group]) for path, (group, draws) in placed.items()}


def nested_plan(plan: DrawPlan, node: str) -> DrawPlan:
    """The part of a plan that belongs to the architecture inside ``node``."""
    return {path[1:]: draws for path, draws in plan.items() if len(path) > 1 and path[0] == node}


def _place(
    members: Sequence[Member],
) -> tuple[dict[Path, tuple[Hashable, DrawRange]], dict[Hashable, int]]:
    """Each node's group and place within one run, and the draws of each group in one run."""
    placed: dict[Path, tuple[Hashable, DrawRange]] = {}
    totals: dict[Hashable, int] = {}

    def take(group: Hashable, count: int) -> int:
        first = totals.get(group, 0)
        totals[group] = first + count
        return first

    for member in members:
        if member.nested is None:
            first = take(member.group, member.count)
            placed[(member.node,)] = (member.group, DrawRange(first, 0))
            continue
        runs = object()  # the runs of this one architecture in this one place: a group of its own
        placed[(member.node,)] = (runs, DrawRange(take(runs, member.count), 0))
        inner, inner_totals = _place(member.nested)
        starts = {g: take(g, member.count * total) for g, total in inner_totals.items()}
        for path, (group, draws) in inner.items():
            step = (member.count, inner_totals[group])
            moved = DrawRange(starts[group] + draws.first, 0, (*draws.steps, step))
            placed[(member.node, *path)] = (group, moved)
    return placed, totals
