"""How many candidates of which makers pass along an edge, told before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Flow:
    """So many candidates of each maker at most, ``total`` in all, critics' words with them.

    ``testers`` are the nodes whose tests of the question go along.
    """

    counts: Mapping[str, float] = field(default_factory=dict)
    limit: float = float("inf")
    critics: frozenset[str] = frozenset()
    testers: frozenset[str] = frozenset()

    @property
    def total(self) -> float:
        """Candidates in all."""
        return min(self.limit, sum(self.counts.values()))

    @classmethod
    def joined(cls, flows: Sequence[Flow], made: Mapping[str, float]) -> Flow:
        """The union by identity.

        Parts of what a maker has made (``made``) may differ from way to way, or be the same.
        """
        if len(flows) == 1:
            return flows[0]
        makers = dict.fromkeys(maker for flow in flows for maker in flow.counts)
        counts = {m: min(made[m], sum(f.counts.get(m, 0) for f in flows)) for m in makers}
        critics = frozenset(critic for flow in flows for critic in flow.critics)
        testers = frozenset(tester for flow in flows for tester in flow.testers)
        return cls(counts, sum(flow.total for flow in flows), critics, testers)

    @classmethod
    def either(cls, one: Flow, other: Flow) -> Flow:
        """What both are bounded by."""
        makers = {**one.counts, **other.counts}
        counts = {m: max(one.counts.get(m, 0), other.counts.get(m, 0)) for m in makers}
        critics, testers = one.critics | other.critics, one.testers | other.testers
        return cls(counts, max(one.total, other.total), critics, testers)

    @classmethod
    def between(cls, one: Flow, other: Flow) -> Flow:
        """The mean of both."""
        makers = {**one.counts, **other.counts}
        counts = {m: (one.counts.get(m, 0) + other.counts.get(m, 0)) / 2 for m in makers}
        critics, testers = one.critics | other.critics, one.testers | other.testers
        return cls(counts, (one.total + other.total) / 2, critics, testers)

    def at_most(self, count: int | None) -> Flow:
        """The first so many of them."""
        if count is None or self.total <= count:
            return self
        return replace(self, counts={m: min(c, count) for m, c in self.counts.items()}, limit=count)

    def criticised(self, critic: str) -> Flow:
        """The same with a critic's words."""
        return replace(self, critics=self.critics | {critic})

    def tested(self, tester: str) -> Flow:
        """The same with the tests that a node writes."""
        return replace(self, testers=self.testers | {tester})
