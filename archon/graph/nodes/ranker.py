"""The ranker, which sorts candidates by a score and keeps the best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from archon.graph.judge_output import ranking_constraint, read_ranking
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import (
    Calls,
    Effects,
    Method,
    NodeType,
    Plain,
    Reads,
    Reason,
    set_parameters,
)
from archon.graph.nodes.pairwise import ShareOfWins, most_pairs
from archon.graph.nodes.scorers import ExpectedGrade, Likelihood, OwnLikelihood, Reward, Scorer
from archon.graph.nodes.selection import Scored, keep_best, own_annotation, rank_of_dropped
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import GRADE, LIKELIHOOD, PAIR, RANKER_REWARD, RANKING
from archon.lm.reward import REWARD
from archon.spec.architecture import RankerNode
from archon.types import Candidate

UNREAD = "no ranking could be read"
"""The reason of a score that only reflects the original order of the candidates."""


class Ranker:
    """Node that sorts candidates by score, best first; the sort is stable."""

    def __init__(self, node: str, scorer: Scorer, keep: int | None) -> None:
        self._node, self._scorer, self._keep = node, scorer, keep

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        scores = await self._scorer(context, candidates)
        return keep_best(self._node, context, candidates, scores, self._keep)


class ListwiseRank:
    """Scorer that asks the model in one call to rank all candidates.

    Of N candidates, the best scores 1, the next (N - 1)/N, and the last 1/N. Candidates that the
    reply does not mention rank last, in their original order. Candidates that are not judged
    (``Prompt.judged``) are not in the prompt and rank last. If the reply has no ranking, the
    original order is the ranking. A single candidate scores 1 without a call.
    """

    def __init__(self, prompt: Prompt, use_critiques: bool | None) -> None:
        self._prompt, self._use_critiques = prompt, use_critiques

    async def __call__(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Scored]:
        question = context.question
        ids = self._prompt.judged(question, candidates)
        order = [i for i, candidate in enumerate(candidates) if candidate.id in ids]
        reason = ""
        if len(order) > 1:
            judged = [candidates[i] for i in order]
            messages = self._prompt.messages(question, judged, self._use_critiques)
            completion = await context.ask(messages, constraint=ranking_constraint(len(judged)))
            read = read_ranking(completion.text, len(judged))
            if read is None:
                reason = UNREAD
            else:
                order = [order[i] for i in read]
        order += [i for i in range(len(candidates)) if i not in order]
        ranks = {index: rank for rank, index in enumerate(order)}
        return [
            Scored(1 - ranks[i] / len(candidates), reason=reason) for i in range(len(candidates))
        ]


def _reads(node: RankerNode) -> Reads:
    if node.method == "likelihood" and node.role is None:
        return Reads(likelihoods="method")
    return Reads(critiques=node.use_critiques, shows=node.shows)


def _check(node: RankerNode) -> Iterator[tuple[str, str]]:
    prompt = NODE_TYPE.methods[node.method].prompt
    if node.use_critiques is not None and (prompt is None or "critiques" not in prompt.filled):
        yield f"{NODE_TYPE.describe(node)} does not read critiques", "use_critiques"


def _explain(node: Plain, candidate: Plain) -> Reason:
    score = own_annotation(node, candidate, "score")
    is_unread = score is not None and score["reason"] == UNREAD
    how = "no ranking could be read, and it was" if is_unread else "ranked"
    return Reason(f"{how} {rank_of_dropped(node, candidate)}")


NODE_TYPE: NodeType[RankerNode] = NodeType(
    spec=RankerNode,
    chosen_by="method",
    methods={
        "listwise": Method(
            make=lambda s: Ranker(
                s.name, ListwiseRank(s.prompt, s.spec.use_critiques), s.spec.keep
            ),
            prompt=RANKING,
            requires=frozenset({"chat"}),
            calls=lambda node, n: Calls.of_judge(int(n > 1), n),
        ),
        "pairwise": Method(
            make=lambda s: Ranker(s.name, ShareOfWins(s.prompt, s.spec.use_critiques), s.spec.keep),
            prompt=PAIR,
            requires=frozenset({"chat"}),
            calls=lambda node, n: Calls.of_judge(2 * most_pairs(n), 2),
        ),
        "logit": Method(
            make=lambda s: Ranker(
                s.name, ExpectedGrade(s.prompt, s.spec.use_critiques), s.spec.keep
            ),
            prompt=GRADE,
            requires=frozenset({"chat", "choices"}),
            calls=lambda node, n: Calls.of_judge(n, 1),
        ),
        "likelihood": Method(
            make=lambda s: Ranker(s.name, Likelihood(s.prompt), s.spec.keep),
            prompt=LIKELIHOOD,
            requires=frozenset({"choices"}),
            calls=lambda node, n: Calls.of_judge(n, 1),
            without_model=Method(make=lambda s: Ranker(s.name, OwnLikelihood(), s.spec.keep)),
        ),
        "reward": Method(
            make=lambda s: Ranker(s.name, Reward(s.prompt), s.spec.keep),
            prompt=RANKER_REWARD,
            requires=REWARD,  # a reward model scores texts outside of calls
        ),
    },
    reads=_reads,
    effects=Effects(keeps=lambda node: node.keep, scores="grade"),
    label=lambda node: set_parameters(node, "method", "keep", "use_critiques"),
    check=_check,
    explain=_explain,
)
