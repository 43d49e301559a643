"""Every run beside the plain vote that costs no more.

Whatever makes more calls should be held against more drafts and a vote, which is the simplest way
to spend them. Where one of the runs is such a vote over n drafts, its draws say what a vote over
any k of them is worth (``archon.evals.pass_at_k``), item by item, and its usage says what k drafts
cost. So every other run can be compared with as many drafts as its own cost would buy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from archon.evals.pass_at_k import DrawSet
from archon.evals.records import Record
from archon.evals.statistics import paired_interval, paired_p_value


@dataclass(frozen=True)
class PlainVote:
    """A run whose architecture is one generator and a vote over its drafts."""

    name: str
    num_drafts: int
    sets: Mapping[str, Sequence[DrawSet | None]]
    """Item → the drafts of each epoch; None where it failed."""
    prompt_tokens: float
    """Mean cost of an answer's prompt."""
    draft_tokens: float
    """Mean cost of one draft."""

    def affordable(self, cost_tokens: float) -> int:
        """As many drafts as cost no more, at least one, and at most those that were drawn."""
        drafts = (cost_tokens - self.prompt_tokens) / self.draft_tokens + 1e-9
        return max(1, min(self.num_drafts, int(drafts)))

    def item_means(self, k: int) -> dict[str, float]:
        """Item → the share of votes over k drafts that are right."""
        return {
            item: fmean(0.0 if drafts is None else drafts.votes_at([k])[0] for drafts in sets)
            for item, sets in self.sets.items()
        }


def plain_vote(
    name: str, architecture: Mapping[str, Any], records: Sequence[Record]
) -> PlainVote | None:
    """The run as a plain vote; None where its architecture is another.

    Parameters
    ----------
    architecture
        Its specification as plain data.
    """
    nodes = architecture["nodes"]
    vote = nodes[architecture["output"]]
    if len(nodes) != 2 or vote["type"] != "vote" or vote["weight"] != "count":
        return None
    (node,) = vote["inputs"]
    if nodes[node]["type"] != "generator" or vote["when"] is not None:
        return None
    answers = [record for record in records if record.error is None]
    num_drafts = min((len(record.draws.get(node, ())) for record in answers), default=0)
    completion_tokens = sum(record.usage.completion_tokens for record in answers)
    if not num_drafts or not completion_tokens:
        return None
    sets = defaultdict[str, list[DrawSet | None]](list)
    for record in records:
        drafts = None if record.error is not None else DrawSet.of(record.draws[node])
        sets[record.item].append(drafts)
    cost_tokens = sum(record.cost_tokens for record in answers)
    return PlainVote(
        name,
        num_drafts,
        sets,
        prompt_tokens=(cost_tokens - completion_tokens) / len(answers),
        draft_tokens=completion_tokens / sum(record.usage.calls for record in answers),
    )


def equal_cost(
    names: Sequence[str],
    architectures: Sequence[Mapping[str, Any]],
    records: Sequence[Sequence[Record]],
) -> list[dict[str, Any]]:
    """Every run that is no plain vote, against the vote over as many drafts as it costs.

    The vote is taken from the run of most drafts; without one the list is empty. ``difference`` is
    the accuracy of the run less that of the vote over ``drafts`` drafts, on the items of both;
    ``is_enough`` tells whether the drafts drawn reach its cost.

    Raises
    ------
    MissingExtraError
        Scipy is not installed.
    """
    runs = list(zip(names, architectures, records, strict=True))
    votes = {name: plain_vote(name, spec, own) for name, spec, own in runs}
    found = [vote for vote in votes.values() if vote is not None]
    if not found:
        return []
    best = max(found, key=lambda vote: vote.num_drafts)
    return [against(best, name, own) for name, _, own in runs if votes[name] is None and own]


def against(vote: PlainVote, name: str, records: Sequence[Record]) -> dict[str, Any]:
    """A run against the vote over as many drafts as it costs; the fields of ``equal_cost``."""
    answers = [record for record in records if record.error is None]
    cost_tokens = fmean(record.cost_tokens for record in answers) if answers else 0.0
    drafts = vote.affordable(cost_tokens)
    scores = defaultdict[str, list[bool]](list)
    for record in records:
        scores[record.item].append(record.is_right)
    voted = vote.item_means(drafts)
    shared = [item for item in scores if item in voted]
    differences = [fmean(scores[item]) - voted[item] for item in shared]
    return {
        "name": name,
        "vote": vote.name,
        "drafts": drafts,
        "is_enough": cost_tokens < vote.prompt_tokens + (drafts + 1) * vote.draft_tokens,
        "cost_tokens": cost_tokens,
        "vote_cost_tokens": vote.prompt_tokens + drafts * vote.draft_tokens,
        "vote_accuracy": fmean(voted[item] for item in shared) if shared else None,
        "num_items": len(shared),
        "difference": fmean(differences) if shared else None,
        "interval": paired_interval(differences) if shared else None,
        "p_value": paired_p_value(differences) if shared else None,
    }
