"""The verifier, which judges candidates and drops the wrong ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

from archon.graph.judge_output import VERDICT_CONSTRAINT, read_verdict
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
from archon.graph.nodes.equations import UNSUITED, judge_equations
from archon.graph.nodes.program import judge_programs
from archon.graph.nodes.program_execution import shared_sandbox
from archon.graph.nodes.scorers import ProbabilityOfYes, Reward, Scorer
from archon.graph.nodes.selection import Ruling, judge_each, keep_verified, own_annotation
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import VERDICT, VERIFIER_REWARD, YES_OR_NO
from archon.lm.reward import REWARD
from archon.spec.architecture import VerifierNode
from archon.types import Candidate

Judge = Callable[[NodeContext, Sequence[Candidate]], Awaitable[list[Ruling]]]

_WHY = {"pass": "judged correct", "fail": "judged incorrect", "abstain": "no clear verdict"}


class Verifier:
    """Node that judges each candidate and passes on those that ``keep_verified`` keeps."""

    def __init__(self, node: str, judge: Judge, keep_first: int | None) -> None:
        self._node, self._judge, self._keep_first = node, judge, keep_first

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        rulings = await self._judge(context, candidates)
        return keep_verified(self._node, context, candidates, rulings, self._keep_first)


async def judge_by_argument(
    prompt: Prompt, context: NodeContext, candidates: Sequence[Candidate]
) -> list[Ruling]:
    """Ask the model to argue about each candidate and then judge it; one call per candidate.

    A model that supports constraints states a verdict even if ``max_tokens`` cuts off its argument.
    """

    async def judge(candidate: Candidate) -> Ruling:
        messages = prompt.messages(context.question, [candidate])
        completion = await context.ask(messages, constraint=VERDICT_CONSTRAINT)
        return Ruling(read_verdict(completion.text), completion.text.strip())

    unjudged = Ruling("abstain", "it contains nothing that can be judged")
    return await judge_each(prompt, context, candidates, judge, unjudged)


async def judge_by_score(
    scorer: Scorer, threshold: float | None, context: NodeContext, candidates: Sequence[Candidate]
) -> list[Ruling]:
    """Pass candidates whose score is at least the threshold; None means 0.5."""
    least = 0.5 if threshold is None else threshold
    return [
        Ruling("abstain" if s.abstains else "pass" if s.value >= least else "fail", score=s.value)
        for s in await scorer(context, candidates)
    ]


def _check(node: VerifierNode) -> Iterator[tuple[str, str]]:
    if node.threshold is not None:
        if node.method not in ("logit", "reward"):
            reason = "computes no score to compare with the threshold"
            yield f"{NODE_TYPE.describe(node)} {reason}", "threshold"
        if node.method == "logit" and not 0 <= node.threshold <= 1:
            yield "the threshold of a probability must be between 0 and 1", "threshold"


def _explain(node: Plain, candidate: Plain) -> Reason:
    """Return why a candidate was dropped: the model's reply about it, else the recorded verdict.

    The trace does not say which call is about which candidate, so this finds the call whose prompt
    contains the candidate's text.
    """
    found = own_annotation(node, candidate, "verdict")
    verdict, argument = (found["value"], found["reason"]) if found else ("", "")
    for call in node["calls"]:
        if call["completions"] and candidate["text"] in call["messages"][-1]["content"]:
            text = call["completions"][0]["text"]
            if text:  # scored choices have no text
                verdict, argument = read_verdict(text), text
                break
    if not verdict:
        return Reason("dropped")
    cut = f", but only the first {len(node['outputs'])} are kept" if verdict == "pass" else ""
    return Reason(_WHY[verdict] + cut, argument)


def _by_score(name: str, spec: VerifierNode, scorer: Scorer) -> Verifier:
    return Verifier(name, partial(judge_by_score, scorer, spec.threshold), spec.keep_first)


NODE_TYPE: NodeType[VerifierNode] = NodeType(
    spec=VerifierNode,
    chosen_by="method",
    methods={
        "reason": Method(
            make=lambda s: Verifier(
                s.name, partial(judge_by_argument, s.prompt), s.spec.keep_first
            ),
            prompt=VERDICT,
            requires=frozenset({"chat"}),
            calls=lambda node, n: Calls.of_judge(n, 1),
        ),
        "logit": Method(
            make=lambda s: _by_score(s.name, s.spec, ProbabilityOfYes(s.prompt)),
            prompt=YES_OR_NO,
            requires=frozenset({"chat", "choices"}),
            calls=lambda node, n: Calls.of_judge(n, 1),
        ),
        "reward": Method(
            make=lambda s: _by_score(s.name, s.spec, Reward(s.prompt)),
            prompt=VERIFIER_REWARD,
            requires=REWARD,  # a reward model scores texts outside of calls
        ),
        "equations": Method(
            make=lambda s: Verifier(s.name, judge_equations, s.spec.keep_first),
            unsuited=UNSUITED,
        ),
        "program": Method(
            make=lambda s: Verifier(
                s.name, partial(judge_programs, shared_sandbox()), s.spec.keep_first
            ),
            unsuited={
                "code": "it compares a program's result with an answer outside of the program; "
                'replace it by a unit_test_evaluator with "method": "program"'
            },
        ),
    },
    reads=lambda node: Reads(shows=node.shows),
    effects=Effects(keeps=lambda node: node.keep_first, usual_share=0.5, scores="grade"),
    label=lambda node: set_parameters(node, "method", "threshold", "keep_first"),
    check=_check,
    explain=_explain,
)
