"""The ranker: orders candidates and keeps the best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from archon.graph.judge_output import ranking_constraint, read_ranking
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import Calls, Method, NodeType, Plain, Reads, Reason, given
from archon.graph.nodes.pairwise import PairwiseRanker, most_pairs
from archon.graph.nodes.scorers import (
    ExpectedGrade,
    Likelihood,
    OwnLikelihood,
    Reward,
    Scorer,
)
from archon.graph.nodes.selection import keep_best, own_annotation, place_of_dropped
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import GRADE, LIKELIHOOD, PAIR, RANKER_REWARD, RANKING
from archon.lm.reward import REWARD
from archon.spec.architecture import RankerNode
from archon.types import Candidate

UNREAD = "no ranking could be read"
"""``reason`` of a score that stands for a candidate's original place."""


class ListwiseRanker:
    """Asks once for the order of all candidates; a model with constraints always gives one.

    Of N candidates the best is scored 1, the next (N - 1)/N, and the last 1/N. Candidates that the
    reply leaves out follow in their original order, and after them those that are not shown
    (``Prompt.judged``); where no ranking can be read, that is the order. A single candidate is
    scored 1 without a question.
    """

    def __init__(
        self, node: str, prompt: Prompt, keep: int | None, use_critiques: bool | None
    ) -> None:
        self._node, self._prompt = node, prompt
        self._keep, self._use_critiques = keep, use_critiques

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """One call, where more than one candidate is judged."""
        question = context.question
        ids = self._prompt.judged(question, candidates)
        places = range(len(candidates))
        judged = [i for i in places if candidates[i].id in ids]
        read: list[int] | None = list(range(len(judged)))
        if len(judged) > 1:
            shown = [candidates[i] for i in judged]
            messages = self._prompt.messages(question, shown, self._use_critiques)
            (completion,) = await context.ask(messages, constraint=ranking_constraint(len(judged)))
            read = read_ranking(completion.text, len(judged))
        reason = UNREAD if read is None else ""
        order = judged if read is None else [judged[i] for i in read]
        order += [i for i in places if i not in order]
        scores = [0.0] * len(candidates)
        for rank, index in enumerate(order):
            scores[index] = 1 - rank / len(candidates)
        reasons = [reason] * len(candidates)
        return keep_best(self._node, context, candidates, scores, self._keep, reasons)


class PointwiseRanker:
    """Orders candidates by their scores; of equals the earlier is first. A single one is scored."""

    def __init__(self, node: str, scorer: Scorer, keep: int | None) -> None:
        self._node, self._scorer, self._keep = node, scorer, keep

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """As many calls as the scorer makes."""
        if not candidates:
            return []
        scores = [scored.value for scored in await self._scorer(context, candidates)]
        return keep_best(self._node, context, candidates, scores, self._keep)


def _reads(node: RankerNode) -> Reads:
    return Reads(critiques=node.use_critiques, shows=node.shows)


def _check(node: RankerNode) -> Iterator[tuple[str, str]]:
    prompt = METHODS[node.method].prompt
    if node.use_critiques is not None and (prompt is None or "critiques" not in prompt.filled):
        yield f"{NODE_TYPE.describe(node)} reads no critiques", "use_critiques"


def _explain(node: Plain, candidate: Plain) -> Reason:
    score = own_annotation(node, candidate, "score")
    is_unread = score is not None and score["reason"] == UNREAD
    how = "no ranking could be read, and it came" if is_unread else "ranked"
    return Reason(f"{how} {place_of_dropped(node, candidate)}")


_method = partial(Method[RankerNode], keeps=lambda node: node.keep, scores="grade")

METHODS = {
    "listwise": _method(
        make=lambda s: ListwiseRanker(s.name, s.prompt, s.spec.keep, s.spec.use_critiques),
        prompt=RANKING,
        requires=frozenset({"chat"}),
        calls=lambda node, n: Calls.of_judge(int(n > 1), n),
        reads=_reads,
    ),
    "pairwise": _method(
        make=lambda s: PairwiseRanker(s.name, s.prompt, s.spec.keep, s.spec.use_critiques),
        prompt=PAIR,
        requires=frozenset({"chat"}),
        calls=lambda node, n: Calls.of_judge(2 * most_pairs(n), 2),
        reads=_reads,
    ),
    "logit": _method(
        make=lambda s: PointwiseRanker(
            s.name, ExpectedGrade(s.prompt, s.spec.use_critiques), s.spec.keep
        ),
        prompt=GRADE,
        requires=frozenset({"chat", "choices"}),
        calls=lambda node, n: Calls.of_judge(n, 1),
        reads=_reads,
    ),
    "likelihood": _method(
        make=lambda s: PointwiseRanker(s.name, Likelihood(s.prompt), s.spec.keep),
        prompt=LIKELIHOOD,
        requires=frozenset({"choices"}),
        calls=lambda node, n: Calls.of_judge(n, 1),
        reads=_reads,
        without_model=_method(
            make=lambda s: PointwiseRanker(s.name, OwnLikelihood(), s.spec.keep),
            reads=lambda node: Reads(likelihoods="method"),
        ),
    ),
    "reward": _method(
        make=lambda s: PointwiseRanker(s.name, Reward(s.prompt), s.spec.keep),
        prompt=RANKER_REWARD,
        requires=REWARD,  # a reward model scores texts outside of calls
        reads=_reads,
    ),
}

NODE_TYPE = NodeType(
    spec=RankerNode,
    chosen_by="method",
    methods=METHODS,
    label=lambda node: given(node, "method", "keep", "use_critiques"),
    check=_check,
    explain=_explain,
)
