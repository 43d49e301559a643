"""The verifier: judges candidates and drops the wrong ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from archon.graph.judge_output import VERDICT_CONSTRAINT, read_verdict
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import Calls, Method, NodeType, Plain, Reads, Reason, given
from archon.graph.nodes.equations import EquationVerifier
from archon.graph.nodes.program import ProgramVerifier
from archon.graph.nodes.program_execution import shared_sandbox
from archon.graph.nodes.scorers import ProbabilityOfYes, Reward, Scored, Scorer
from archon.graph.nodes.selection import SCORES, Ruling, keep_verified, own_annotation
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import VERDICT, VERIFIER_REWARD, YES_OR_NO
from archon.lm.concurrency import run_all
from archon.lm.reward import REWARD
from archon.spec.architecture import VerifierNode
from archon.types import Candidate

_WHY = {"pass": "judged right", "fail": "judged wrong", "abstain": "not clearly judged"}


class ReasoningVerifier:
    """Lets the model argue about one candidate per call and then judge it.

    With a constraint, a model gives a verdict even if ``max_tokens`` cuts its argument short.
    ``archon.graph.nodes.selection.keep_verified`` decides what is passed on.
    """

    def __init__(self, node: str, prompt: Prompt, keep_first: int | None) -> None:
        self._node, self._prompt, self._keep_first = node, prompt, keep_first

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """One call for each candidate that is judged, all at once."""
        if not candidates:
            return []
        judged = self._prompt.judged(context.question, candidates)
        rulings = await run_all(self._judge(context, c, c.id in judged) for c in candidates)
        return keep_verified(self._node, context, candidates, rulings, self._keep_first)

    async def _judge(self, context: NodeContext, candidate: Candidate, is_judged: bool) -> Ruling:
        if not is_judged:
            return Ruling("abstain", SCORES["abstain"], "it shows nothing to judge it by")
        messages = self._prompt.messages(context.question, [candidate])
        (completion,) = await context.ask(messages, constraint=VERDICT_CONSTRAINT)
        verdict = read_verdict(completion.text)
        return Ruling(verdict, SCORES[verdict], completion.text.strip())


class ThresholdVerifier:
    """Passes what scores at least the threshold; an abstaining score is an abstention."""

    def __init__(self, node: str, scorer: Scorer, threshold: float, keep_first: int | None) -> None:
        self._node, self._scorer = node, scorer
        self._threshold, self._keep_first = threshold, keep_first

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """As many calls as the scorer makes."""
        if not candidates:
            return []
        rulings = [self._ruling(scored) for scored in await self._scorer(context, candidates)]
        return keep_verified(self._node, context, candidates, rulings, self._keep_first)

    def _ruling(self, scored: Scored) -> Ruling:
        if scored.abstains:
            return Ruling("abstain", scored.value)
        return Ruling("pass" if scored.value >= self._threshold else "fail", scored.value)


def _by_threshold(name: str, spec: VerifierNode, scorer: Scorer) -> ThresholdVerifier:
    threshold = 0.5 if spec.threshold is None else spec.threshold
    return ThresholdVerifier(name, scorer, threshold, spec.keep_first)


def _reads(node: VerifierNode) -> Reads:
    return Reads(shows=node.shows)


def _check(node: VerifierNode) -> Iterator[tuple[str, str]]:
    if node.threshold is not None:
        if node.method not in ("logit", "reward"):
            reason = f"{NODE_TYPE.describe(node)} gives no scores to hold against it"
            yield reason, "threshold"
        if node.method == "logit" and not 0 <= node.threshold <= 1:
            yield "a probability is between 0 and 1", "threshold"


def _explain(node: Plain, candidate: Plain) -> Reason:
    """By the model's argument, else by the verdict that the node gave without one.

    Calls end in any order: that of a candidate is the one whose prompt shows its text.
    """
    found = own_annotation(node, candidate, "verdict")
    verdict, argument = (found["value"], found["reason"]) if found else ("", "")
    for call in node["calls"]:
        if call["completions"] and candidate["text"] in call["messages"][-1]["content"]:
            text = call["completions"][0]["text"]
            if text:  # scored choices leave none
                verdict, argument = read_verdict(text), text
                break
    if not verdict:
        return Reason("dropped")
    cut = f", but only the first {len(node['outputs'])} are kept" if verdict == "pass" else ""
    return Reason(_WHY[verdict] + cut, argument)


_method = partial(
    Method[VerifierNode],
    keeps=lambda node: node.keep_first,
    usual_share=0.5,
    scores="grade",
)

NODE_TYPE = NodeType(
    spec=VerifierNode,
    chosen_by="method",
    methods={
        "reason": _method(
            make=lambda s: ReasoningVerifier(s.name, s.prompt, s.spec.keep_first),
            prompt=VERDICT,
            requires=frozenset({"chat"}),
            calls=lambda node, n: Calls.of_judge(n, 1),
            reads=_reads,
        ),
        "logit": _method(
            make=lambda s: _by_threshold(s.name, s.spec, ProbabilityOfYes(s.prompt)),
            prompt=YES_OR_NO,
            requires=frozenset({"chat", "choices"}),
            calls=lambda node, n: Calls.of_judge(n, 1),
            reads=_reads,
        ),
        "reward": _method(
            make=lambda s: _by_threshold(s.name, s.spec, Reward(s.prompt)),
            prompt=VERIFIER_REWARD,
            requires=REWARD,  # a reward model scores texts outside of calls
            reads=_reads,
        ),
        "equations": _method(
            make=lambda s: EquationVerifier(s.name, s.spec.keep_first),
        ),
        "program": _method(
            make=lambda s: ProgramVerifier(s.name, shared_sandbox(), s.spec.keep_first),
        ),
    },
    label=lambda node: given(node, "method", "threshold", "keep_first"),
    check=_check,
    explain=_explain,
)
