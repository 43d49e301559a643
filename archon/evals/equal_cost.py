"""Compare runs with a plain vote that costs the same.

An architecture should be better than the simplest way to spend the same tokens: more samples of one
generator, and a vote. If one of the runs is a vote of this type over n samples, it also determines
the accuracy and the cost of a vote over any k ≤ n samples (``archon.evals.pass_at_k``). Every other
run is compared with the vote over the number of samples that its cost would pay for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from archon.evals.costs import Cost, mean_cost
from archon.evals.pass_at_k import DrawSet
from archon.evals.records import Record
from archon.evals.statistics import paired_interval, paired_p_value
from archon.lm.compute import total_compute


@dataclass(frozen=True)
class PlainVote:
    """A run of an architecture that consists of one generator and a vote over its samples."""

    name: str
    num_samples: int
    """The smallest number of samples that any answer has."""
    sets: Mapping[str, Sequence[DrawSet | None]]
    """Item → the samples of each epoch; None for an epoch that failed."""
    prompt_tokens: float
    """Mean number of prompt tokens per answer."""
    sample_tokens: float
    """Mean number of tokens per sample."""
    compute: tuple[float, float] | None = None
    """Mean compute of the prompts of an answer, and of a sample; None if it is unknown."""
    seconds: float = 0.0
    """Mean time of an answer, divided by its number of samples."""

    def price(self, cost: Cost) -> tuple[float, float] | None:
        """Return the cost of an answer's prompts, and of each sample; None if it is unknown.

        The time of an answer is taken to be proportional to its samples. A batch of samples takes
        less than that, so the number of samples that a time pays for is a lower bound.
        """
        if cost == "tokens":
            return self.prompt_tokens, self.sample_tokens
        return self.compute if cost == "compute" else (0.0, self.seconds)

    def affordable(self, amount: float, cost: Cost = "tokens") -> int:
        """Return how many samples this amount pays for, from 1 to ``num_samples``."""
        prompts, sample = self.price(cost) or (0.0, 0.0)
        if not sample:
            return self.num_samples
        return max(1, min(self.num_samples, int((amount - prompts) / sample + 1e-9)))

    def item_means(self, k: int) -> dict[str, float]:
        """Return item → share of right votes among all votes over k of its samples."""
        return {
            item: fmean(0.0 if samples is None else samples.votes_at([k])[0] for samples in sets)
            for item, sets in self.sets.items()
        }


def is_plain_vote(architecture: Mapping[str, Any]) -> bool:
    """Return whether an architecture is one generator and an unconditional vote by count.

    Parameters
    ----------
    architecture
        Its specification as plain data.
    """
    nodes = architecture["nodes"]
    vote = nodes[architecture["output"]]
    if len(nodes) != 2 or vote["type"] != "vote" or vote["weight"] != "count":
        return False
    (node,) = vote["inputs"]
    return bool(nodes[node]["type"] == "generator" and vote["when"] is None)


def plain_vote(
    name: str, architecture: Mapping[str, Any], records: Sequence[Record]
) -> PlainVote | None:
    """Convert a run to a ``PlainVote``, or return None if its architecture is not a plain vote.

    Parameters
    ----------
    architecture
        The architecture of the run, as plain data.
    """
    if not is_plain_vote(architecture):
        return None
    (node,) = architecture["nodes"][architecture["output"]]["inputs"]
    answers = [record for record in records if record.error is None]
    num_samples = min((len(record.draws.get(node, ())) for record in answers), default=0)
    completion_tokens = sum(record.usage.completion_tokens for record in answers)
    if not num_samples or not completion_tokens:
        return None
    sets = defaultdict[str, list[DrawSet | None]](list)
    for record in records:
        samples = None if record.error is not None else DrawSet.of(record.draws[node])
        sets[record.item].append(samples)
    cost_tokens = sum(record.cost_tokens for record in answers)
    num_calls = sum(record.usage.calls for record in answers)
    return PlainVote(
        name,
        num_samples,
        sets,
        prompt_tokens=(cost_tokens - completion_tokens) / len(answers),
        sample_tokens=completion_tokens / num_calls,
        compute=_compute_prices(answers, num_calls),
        seconds=sum(record.seconds for record in answers) / num_calls,
    )


def _compute_prices(answers: Sequence[Record], num_calls: int) -> tuple[float, float] | None:
    total = total_compute(record.compute for record in answers)
    prompts = total_compute(record.prompt_compute for record in answers)
    if total is None or prompts is None:
        return None
    return prompts / len(answers), (total - prompts) / num_calls


def equal_cost(
    names: Sequence[str],
    architectures: Sequence[Mapping[str, Any]],
    records: Sequence[Sequence[Record]],
    cost: Cost = "tokens",
) -> list[dict[str, Any]]:
    """Compare each run with a plain vote over the number of samples that its cost pays for.

    If several runs are plain votes, the one with the most samples is used. If no run is a plain
    vote, the result is empty. Otherwise it contains a row for each remaining run: ``drafts`` is the
    number of samples that the run's cost pays for, and ``difference`` is the run's accuracy minus
    the accuracy of the vote over these samples, on the items of both. ``is_enough`` is False if the
    run costs more than a vote over all samples does. ``amount`` and ``vote_amount`` are the costs
    per answer in the unit of ``cost``. Runs whose cost is unknown have no row.

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
    best = max(found, key=lambda vote: vote.num_samples)
    rows = [against(best, name, own, cost) for name, _, own in runs if votes[name] is None and own]
    return [row for row in rows if row is not None]


def against(
    vote: PlainVote, name: str, records: Sequence[Record], cost: Cost = "tokens"
) -> dict[str, Any] | None:
    """Compare one run with a plain vote; return a row of ``equal_cost``, None without its cost."""
    answers = [record for record in records if record.error is None]
    cost_tokens = fmean(record.cost_tokens for record in answers) if answers else 0.0
    amount = mean_cost(records, cost) if answers else 0.0
    price = vote.price(cost)
    if amount is None or price is None:
        return None
    num_samples = vote.affordable(amount, cost)
    scores = defaultdict[str, list[bool]](list)
    for record in records:
        scores[record.item].append(record.is_right)
    voted = vote.item_means(num_samples)
    shared = [item for item in scores if item in voted]
    differences = [fmean(scores[item]) - voted[item] for item in shared]
    return {
        "name": name,
        "vote": vote.name,
        "drafts": num_samples,
        "is_enough": amount < price[0] + (num_samples + 1) * price[1],
        "cost": cost,
        "amount": amount,
        "vote_amount": price[0] + num_samples * price[1],
        "cost_tokens": cost_tokens,
        "vote_cost_tokens": vote.prompt_tokens + num_samples * vote.sample_tokens,
        "vote_accuracy": fmean(voted[item] for item in shared) if shared else None,
        "num_items": len(shared),
        "difference": fmean(differences) if shared else None,
        "interval": paired_interval(differences) if shared else None,
        "p_value": paired_p_value(differences) if shared else None,
    }
