"""Estimate an architecture's cost before it runs: the worst case and the expected cost.

The worst case assumes that every ``when`` is true, every sample is made, every reply has
``max_tokens`` tokens, and every judge reads all candidates that can reach it. No run makes more
calls or uses more tokens. Prompts are bounded without a tokenizer: one token per byte of the
wording, the worked examples and the question, and ``max_tokens`` for each candidate.

The expected cost assumes that a reply uses a given share of ``max_tokens``, a token has 3.5
characters, a condition is true half of the time, and a verifier or a vote passes on half of the
candidates. ``Expectation`` has the other assumptions, such as how many samples agree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from archon.graph.architecture import Architecture
from archon.graph.dataflow import Flow, dataflow, num_calls
from archon.graph.lm import ArchitectureLM
from archon.graph.nodes.registry import NODE_TYPES, method_of, reads_of
from archon.graph.prompts import calculations
from archon.graph.prompts.builder import ANSWER_BYTES
from archon.lm.base import MESSAGE_TOKENS, most_prompt_tokens
from archon.spec.architecture import Budget, Shows
from archon.types import DEFAULT_SAMPLING, Candidate, CandidateId, Message, Question, SamplingParams

_CHARACTERS_PER_TOKEN = 3.5
_TEMPLATE_TOKENS_PER_MESSAGE = 5
_SENTENCE_TOKENS = 40


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of calls, and their tokens."""

    calls: float = 0
    prompt_tokens: float = 0
    completion_tokens: float = 0

    @property
    def tokens(self) -> float:
        """The sum of prompt and completion tokens."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    def times(self, factor: float) -> Amount:
        """Return the amount multiplied by a factor."""
        return Amount(
            self.calls * factor, self.prompt_tokens * factor, self.completion_tokens * factor
        )


@dataclass(frozen=True, slots=True)
class Expectation:
    """Assumptions about a typical question."""

    question: Question = Question("?" * 300)  # noqa: RUF009 - immutable
    """A question of typical length. The worst case is also computed for this question, so a longer
    question may cost more."""
    completion_tokens: float | None = None
    """Expected tokens of a reply; None assumes ``completion_share`` times ``max_tokens``."""
    completion_share: float = 0.4
    agreement: float = 0.6
    """Share of samples with the most frequent value, on which ``stop_when`` depends."""


@dataclass(frozen=True, slots=True)
class NodeEstimate:
    """The cost of one node that asks a model for text."""

    worst: Amount
    expected: Amount


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of answering one question. In the totals, a prompt that nodes share counts once."""

    nodes: Mapping[str, NodeEstimate]
    worst: Amount
    """Worst-case total, limited by the architecture's budget."""
    expected: Amount
    """Expected total, limited by the architecture's budget."""
    longest_answer: float
    """Maximum number of tokens in a candidate of the output node."""
    usual_answer: float
    """Expected number of tokens in a candidate of the output node."""


def estimate(
    architecture: Architecture,
    expectation: Expectation | None = None,
    sampling: SamplingParams | None = None,
    *,
    may_be_cut: bool = False,
) -> Estimate:
    """Estimate the calls and tokens for a question, per node and in total, without asking a model.

    Parameters
    ----------
    expectation
        The assumptions behind the expected cost; None uses the defaults.
    sampling
        Sampling parameters of a request, which override the nodes' parameters; None changes
        nothing.
    may_be_cut
        True if the budget of an outer graph may stop nodes, which then pass on their inputs.
    """
    budget = architecture.spec.budget
    worst, usual = (
        _Pass(
            architecture,
            expectation or Expectation(),
            sampling or SamplingParams(),
            is_worst=is_worst,
            may_be_cut=may_be_cut or budget is not None,
        )
        for is_worst in (True, False)
    )
    nodes = {
        name: NodeEstimate(amount, usual.amounts[name]) for name, amount in worst.amounts.items()
    }
    total, expected = (_within(amount, budget) for amount in (worst.total, usual.total))
    return Estimate(nodes, total, expected, worst.answer_tokens, usual.answer_tokens)


def _within(amount: Amount, budget: Budget | None) -> Amount:
    """Reduce an amount to the calls and tokens that a budget allows."""
    if budget is None:
        return amount
    calls = amount.calls if budget.max_calls is None else min(amount.calls, budget.max_calls)
    if budget.max_tokens is not None and amount.tokens > budget.max_tokens:
        amount = amount.times(budget.max_tokens / amount.tokens)
    return replace(amount, calls=calls)


class _Pass:
    """A pass over the graph that adds up the worst-case or the expected cost of all nodes."""

    def __init__(
        self,
        architecture: Architecture,
        expectation: Expectation,
        sampling: SamplingParams,
        *,
        is_worst: bool,
        may_be_cut: bool,
    ) -> None:
        self._may_be_cut = may_be_cut
        self._architecture, self._expectation, self._is_worst = architecture, expectation, is_worst
        self._uses = architecture.models.uses(sampling)
        self._agreement = None if is_worst else expectation.agreement
        self.amounts: dict[str, Amount] = {}
        self.total = Amount()
        self._reply: dict[str, float] = {}  # node → tokens of one reply
        self._counted: set[object] = set()  # prompts
        spec, order = architecture.spec, architecture.graph.order
        flow = dataflow(spec, order, agreement=self._agreement, may_be_cut=may_be_cut)
        for name in order:
            self._visit(name, flow.arriving[name])
        writers = flow.leaving[spec.output].counts
        self.answer_tokens = max((self._reply[writer] for writer in writers), default=0.0)

    def _visit(self, name: str, flow: Flow) -> None:
        """Add the cost of one node that reads the candidates of ``flow``."""
        node = self._architecture.spec.nodes[name]
        method = method_of(node)
        if method.prompt is not None:
            chance = 0.5 if node.when is not None and not self._is_worst else 1.0
            amount, saved = self._cost_of_calls(name, flow)
            self.amounts[name] = amount.times(chance)
            self.total += (amount + Amount(0, -saved, 0)).times(chance)
        elif NODE_TYPES[node.type].effects.critiques:
            self._reply[name] = flow.total * self._sentence_tokens(flow)
        elif NODE_TYPES[node.type].effects.writes:
            self._reply[name] = self._tokens_without_model(flow)

    def _sentence_tokens(self, flow: Flow) -> float:
        """Return the tokens of a critique that is written without a model.

        The critique quotes the candidate's calculations, so it has at most twice the number of
        tokens of the candidate's text.
        """
        if not self._is_worst:
            return _SENTENCE_TOKENS
        longest = max((self._reply[writer] for writer in flow.counts), default=0.0)
        return 2 * longest + _SENTENCE_TOKENS

    def _tokens_without_model(self, flow: Flow) -> float:
        """Return the tokens of a candidate that a plug-in's node writes without a model.

        It is assumed to be at most as long as the longest candidate that the node reads.
        """
        longest = max((self._reply[writer] for writer in flow.counts), default=0.0)
        return longest or self._reply_tokens(DEFAULT_SAMPLING.max_tokens or 0)

    def _cost_of_calls(self, name: str, flow: Flow) -> tuple[Amount, float]:
        """Return the cost of a node's calls, and the prompt tokens to subtract from the total cost.

        Prompt tokens are subtracted if an earlier node uses the same prompt.
        """
        node, use = self._architecture.spec.nodes[name], self._uses[name]
        method = method_of(node)
        calls = method.calls(node, math.ceil(flow.total))
        count = num_calls(calls, self._agreement)
        if isinstance(use.lm, ArchitectureLM):
            inner = estimate(
                use.lm.architecture, self._expectation, use.sampling, may_be_cut=self._may_be_cut
            )
            self._reply[name] = inner.longest_answer if self._is_worst else inner.usual_answer
            return (inner.worst if self._is_worst else inner.expected).times(count), 0.0
        longest = use.sampling.max_tokens or DEFAULT_SAMPLING.max_tokens or 0
        reply = self._reply[name] = self._reply_tokens(longest)
        if not count:
            return Amount(), 0.0
        messages, prompt = self._prompt(name, flow, calls.shown)
        key = (id(use.lm), messages, name if calls.shown else "")
        saved = prompt if not calls.shown and key in self._counted else 0.0
        self._counted.add(key)
        return Amount(count, calls.num_prompts * prompt, count * reply), saved

    def _reply_tokens(self, longest: int) -> float:
        if self._is_worst:
            return longest
        usual = self._expectation.completion_tokens
        return min(
            longest, longest * self._expectation.completion_share if usual is None else usual
        )

    def _prompt(self, name: str, flow: Flow, num_shown: int) -> tuple[tuple[Message, ...], float]:
        """Return a node's messages without candidate texts, and its prompt tokens with them."""
        node = self._architecture.spec.nodes[name]
        reads, max_tests = reads_of(node), NODE_TYPES[node.type].effects.max_tests(node)
        listed = [Candidate(CandidateId("", i), "", None) for i in range(num_shown)]
        prompt, question = self._architecture.prompt(name), self._expectation.question
        messages = prompt.messages(question, listed, max_tests=max_tests)
        if self._is_worst:
            tokens: float = most_prompt_tokens(messages)
        else:
            characters = sum(len(message.content) for message in messages)
            tokens = characters / _CHARACTERS_PER_TOKEN
            tokens += _TEMPLATE_TOKENS_PER_MESSAGE * len(messages)
        if num_shown and prompt.shows_candidates(question.answer):
            tokens += self._shown_tokens(reads.shows, flow, num_shown)
            if reads.critiques is not False:
                labels = MESSAGE_TOKENS * num_shown if self._is_worst else 0
                tokens += sum(self._reply[critic] + labels for critic in flow.critics)
        if reads.tests is not None:
            tokens += sum(map(self._tests_tokens, flow.testers))
        return messages, tokens

    def _shown_tokens(self, shows: Shows, flow: Flow, num_shown: int) -> float:
        """Return the tokens that ``num_shown`` candidate texts add to a prompt."""
        replies = [(count, self._reply[writer]) for writer, count in flow.counts.items()]
        written = sum(count * reply for count, reply in replies)
        if not self._is_worst:
            return written * min(1, num_shown / flow.total if flow.total else 0)
        if shows == "steps":
            return num_shown * calculations.MAX_BYTES
        largest = max((reply for _, reply in replies), default=0.0)
        nodes = self._architecture.spec.nodes.values()
        has_results = any(NODE_TYPES[node.type].effects.values for node in nodes)
        return min(num_shown * largest, written) + num_shown * ANSWER_BYTES * has_results

    def _tests_tokens(self, tester: str) -> float:
        """Return the tokens that the unit tests of one node add to a prompt."""
        node = self._architecture.spec.nodes[tester]
        num_tests = NODE_TYPES[node.type].effects.max_tests(node) if self._is_worst else 1
        return self._reply[tester] + MESSAGE_TOKENS * num_tests
