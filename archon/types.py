"""Types that all packages share: requests, completions, events, questions and candidates.

All except ``Hold`` are immutable. Times are in seconds, log-probabilities in nats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
AnswerKind = Literal["number", "text", "code"]
FinishReason = Literal["stop", "length", "choices", "cancelled", "error"]
VerdictKind = Literal["pass", "fail", "abstain"]
Limit = Literal["tokens", "calls", "seconds"]
"""A resource that a budget limits."""
UnitTestMethod = Literal["reason", "program"]
"""``reason``: a statement that a correct answer satisfies; ``program``: Python assertions."""

# ------------------------------------------------------------------------------------- requests


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParameter:
    """The declaration of a field of ``SamplingParams``.

    The schema of files, the fields of served requests and of requests to servers, the engine's
    ``SamplingRule`` and the keys of samples derive from it.
    """

    help: str
    """Its description in the schema of files."""
    default: Any
    """The value where no request, node or card sets one. All values have its type."""
    is_neutral: bool = True
    """The default has no effect and is therefore not sent to servers."""
    is_sampler: bool = False
    """The parameter changes the distribution of each token and is part of the engine's
    ``SamplingRule``."""
    is_openai: bool = False
    """OpenAI's protocol has the parameter. Servers are sent these parameters and all samplers."""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    max_length: int | None = None
    """Maximum length of a tuple."""

    def has_effect(self, value: object) -> bool:
        """Return True if the value is set and changes something."""
        return value is not None and not (self.is_neutral and value == self.default)


def _parameter(help: str, default: object, **declaration: Any) -> Any:
    """Declare a field of ``SamplingParams``, whose value is None until it is set."""
    parameter = SamplingParameter(help=help, default=default, **declaration)
    return field(default=None, metadata={"parameter": parameter})


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Parameters of sampling; None leaves a value open.

    A node's values take precedence over its model card's, a card's over ``DEFAULT_SAMPLING``.
    """

    temperature: float | None = _parameter(
        "0 decodes greedily.", 0.7, ge=0, le=10, is_neutral=False, is_sampler=True, is_openai=True
    )
    """0 is greedy; otherwise logits are divided by it."""
    top_k: int | None = _parameter(
        "Keep the k most probable tokens; 0 keeps all.", 0, ge=0, le=1_000_000, is_sampler=True
    )
    """Keep the k most probable tokens; 0 keeps all."""
    top_p: float | None = _parameter(
        "Keep the fewest tokens whose total probability reaches p; 1 keeps all.",
        1.0,
        gt=0,
        le=1,
        is_sampler=True,
        is_openai=True,
    )
    """Keep the fewest tokens whose total probability reaches p; 1 keeps all."""
    min_p: float | None = _parameter(
        "Drop tokens that are less probable than this share of the most probable; 0 keeps all.",
        0.0,
        ge=0,
        le=1,
        is_sampler=True,
    )
    """Keep tokens at least this share as probable as the most probable; 0 keeps all."""
    max_tokens: int | None = _parameter(
        "Maximum number of new tokens.", 512, ge=1, le=1_000_000, is_neutral=False, is_openai=True
    )
    """Maximum number of new tokens."""
    stop: tuple[str, ...] | None = _parameter(
        "The text ends before the first of these strings.", (), max_length=16, is_openai=True
    )
    """The text ends before the first occurrence of any of these."""
    beams: int | None = _parameter(
        "Width of a beam search for the likeliest texts; 0 samples.", 0, ge=0, le=256
    )
    """0 samples at random; a larger number is the width of a beam search for the likeliest texts.
    Sample k is then the (k modulo ``beams``)-th best, and sampler parameters have no effect."""

    def over(self, base: SamplingParams) -> SamplingParams:
        """Return these values where they are set, and those of ``base`` elsewhere."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(base, **{name: value for name, value in values.items() if value is not None})


SAMPLING_PARAMETERS: Mapping[str, SamplingParameter] = {
    f.name: f.metadata["parameter"] for f in fields(SamplingParams)
}
EXTRA_SAMPLERS = {n: p for n, p in SAMPLING_PARAMETERS.items() if p.is_sampler and not p.is_openai}
"""Samplers that are not in OpenAI's protocol."""
SAMPLER_PARAMETERS = {
    n: p for n, p in SAMPLING_PARAMETERS.items() if p.is_sampler and p.is_openai
} | EXTRA_SAMPLERS
"""Parameters that change the distribution of each token, OpenAI's first."""
SENT_PARAMETERS = SAMPLER_PARAMETERS | {n: p for n, p in SAMPLING_PARAMETERS.items() if p.is_openai}
"""Parameters that are sent to servers."""
_FIRST_PARAMETERS = {"temperature", "top_k", "top_p", "min_p", "max_tokens", "stop", "beams"}
LATER_PARAMETERS = frozenset(SAMPLING_PARAMETERS.keys() - _FIRST_PARAMETERS)
"""Parameters that are newer than the oldest stored samples and runs. Keys and files contain them
only where they have an effect, so that older files stay valid."""
DEFAULT_SAMPLING = SamplingParams(**{n: p.default for n, p in SAMPLING_PARAMETERS.items()})


def sampling_values(sampling: SamplingParams) -> dict[str, Any]:
    """Return the values by name, as traces and sample keys contain them."""
    values = {name: getattr(sampling, name) for name in SAMPLING_PARAMETERS}
    return {
        name: value
        for name, value in values.items()
        if name not in LATER_PARAMETERS or SAMPLING_PARAMETERS[name].has_effect(value)
    }


@dataclass(frozen=True, slots=True)
class Thinking:
    """Reasoning before the answer: on or off, and its length.

    None leaves a value open; a node's values take precedence over its model card's.
    """

    enabled: bool | Literal["auto"] | None = None
    """True requests reasoning, False requests none; "auto" requests neither, regardless of the
    card."""
    template_variables: Mapping[str, object] | None = None
    """Variables of the chat template, in addition to those that every template gets."""
    max_tokens: int | None = None
    """Maximum tokens of reasoning. At the limit the end marker is inserted, and the model
    answers."""

    def over(self, base: Thinking) -> Thinking:
        """Return these values where set, ``base``'s elsewhere; variables are merged by name."""
        variables = {**(base.template_variables or {}), **(self.template_variables or {})}
        return Thinking(
            base.enabled if self.enabled is None else self.enabled,
            variables or None,
            base.max_tokens if self.max_tokens is None else self.max_tokens,
        )

    @property
    def wanted(self) -> bool | None:
        """True if reasoning is requested, False if none is; None leaves it to the model."""
        return None if self.enabled == "auto" else self.enabled

    @property
    def key(self) -> str | None:
        """Part of a sample's key, equal for equal values; None if nothing is requested."""
        if self.wanted is None and not self.template_variables and self.max_tokens is None:
            return None
        variables = self.template_variables or {}
        return json.dumps([self.wanted, variables, self.max_tokens], sort_keys=True, default=dict)


@dataclass(frozen=True, slots=True)
class FreeText:
    """Unconstrained text before a constrained last line, such as an argument before its verdict.

    The last line consists of ``label``, a space and the constrained text. The model may write the
    label itself. Otherwise the label is inserted when the model ends its text, or when only
    ``room`` tokens remain.
    """

    label: str
    room: int
    """Tokens of ``max_tokens`` that are reserved for the last line. The line's length in bytes,
    with the line break before it, is always enough."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A grammar for the generated text: exactly one of the first three fields is set."""

    json_schema: Mapping[str, object] | None = None
    regex: str | None = None
    order_of: tuple[str, ...] | None = None
    """All of these items (at most 64) in any order, separated by " > "."""
    after: FreeText | None = None
    """Unconstrained text before the constrained one; None constrains the complete text."""

    @property
    def num_forms(self) -> int:
        """The number of grammars that are set; 1 in a valid constraint."""
        grammars = (self.json_schema, self.regex, self.order_of)
        return sum(grammar is not None for grammar in grammars)


@dataclass(slots=True, eq=False)
class Hold:
    """A pin on cached prompts, which will be needed again until it is released.

    It is a hint: a cache keeps pinned prompts longer than others while it has capacity for both.
    """

    released: bool = False

    def release(self) -> None:
        """Remove the pin; any thread may call this, also repeatedly."""
        self.released = True


@dataclass(frozen=True, slots=True)
class Request:
    """A request for ``n`` samples of a language model.

    Sample k depends only on seed, model and precision, prompt tokens, sampling, constraint and k.
    The requested samples are numbered ``first_draw`` to ``first_draw + n - 1``.
    """

    messages: tuple[Message, ...]
    n: int = 1
    first_draw: int = 0
    seed: int = 0
    sampling: SamplingParams = SamplingParams()
    choices: tuple[str, ...] | None = None
    """Score these continuations and generate nothing."""
    constraint: Constraint | None = None
    logprobs: bool = False
    """Return the log-probability of every generated token."""
    answer: AnswerKind | None = None
    """The kind of answer that is expected."""
    thinking: Thinking = Thinking()
    hold: Hold | None = field(default=None, compare=False, repr=False)
    """Pins the prompt in caches; samples do not depend on it."""


# ---------------------------------------------------------------------------------- completions


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts of tokens and calls. A call is one completion and counts its complete prompt."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens that came from a cache or a pool and were not computed again."""
    completion_tokens: int = 0
    generated_tokens: int = 0
    """Completion tokens that were decoded, excluding samples found in a pool."""
    choice_tokens: int = 0
    """Tokens of scored choices."""
    calls: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
            self.generated_tokens + other.generated_tokens,
            self.choice_tokens + other.choice_tokens,
            self.calls + other.calls,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """One sample of a request."""

    text: str
    draw: int
    finish_reason: FinishReason
    usage: Usage
    prompts: Mapping[str, int]
    """Digest of (model, prompt tokens) → number of tokens, for each distinct prompt. The cost of an
    answer counts each digest once. A model has one prompt, an architecture those of its nodes."""
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    """Log-probability of each token of ``token_ids`` under the model itself (temperature 1)."""
    tokens: tuple[bytes, ...] | None = field(default=None, compare=False, repr=False)
    """The bytes of each token, empty for control tokens, if log-probabilities were requested. They
    follow from ``token_ids``, so pools do not store them."""
    reasoning: str = ""
    """The reasoning before the answer, markers included; ``text`` begins after it. Token ids,
    log-probabilities and usage cover both."""
    is_reasoning_cut_off: bool = False
    """The reasoning did not end, so there is no answer and ``text`` is empty."""
    notes: tuple[str, ...] = ()
    """Remarks on how the request was processed, for readers of the trace, such as on a system
    message that was moved into the user's message."""
    score: float | None = None
    """The rank criterion of a beam search: the mean log-probability of the tokens."""
    choice_logprobs: Mapping[str, float] | None = None
    """Log-probability of each choice that the request listed."""
    error: str | None = None
    """The reason why this sample failed while others of its request succeeded; ``text`` is then
    empty and ``finish_reason`` is "error"."""
    trace: object | None = field(default=None, compare=False, repr=False)
    """The trace of the architecture that wrote the text (``archon.graph.trace.Trace``)."""


def total_usage(completions: Iterable[Completion]) -> Usage:
    """Return the sum of the completions' usage."""
    return sum((completion.usage for completion in completions), Usage())


def cost_tokens(completions: Iterable[Completion]) -> int:
    """Count completion tokens, each distinct prompt once, and tokens of scored choices.

    Cost measures what was requested: tokens found in caches and pools are not deducted.
    """
    completions = list(completions)
    prompts: dict[str, int] = {}
    for completion in completions:
        prompts.update(completion.prompts)
    usage = total_usage(completions)
    return usage.completion_tokens + usage.choice_tokens + sum(prompts.values())


# --------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class TokenDelta:
    """More text of one sample. ``node`` is empty if a plain model wrote it."""

    draw: int
    text: str
    node: str = ""
    is_reasoning: bool = False
    """The text belongs to the reasoning before the answer (``Completion.reasoning``)."""


@dataclass(frozen=True, slots=True)
class NodeStarted:
    """A node has all its inputs and starts."""

    node: str


@dataclass(frozen=True, slots=True)
class NodeFinished:
    """A node has finished; ``candidates`` is the number of candidates that it passes on."""

    node: str
    candidates: int
    usage: Usage
    seconds: float
    bypassed: bool = False
    cut: Limit | None = None
    """The exhausted resource of the budget, if the node made fewer calls than configured."""


Event = TokenDelta | NodeStarted | NodeFinished
OnEvent = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """The current activity of a model, for progress displays."""

    doing: Literal["loading", "decoding", "calling"]
    """Loading weights, decoding in the local engine, or calling a server."""
    num_running: int = 0
    """Sequences that are decoded, or calls in progress."""
    num_waiting: int = 0
    """Prompts that are not computed yet, or calls that wait for a free slot."""
    generated_tokens: int = 0
    """Tokens generated since the model was opened."""
    cache_used: float | None = None
    """Share of the engine's cache that running sequences use."""
    cached_prompt_share: float | None = None
    """Share of the prompts' tokens that were in the cache when the prompts arrived."""


# ---------------------------------------------------------------------- questions and candidates


@dataclass(frozen=True, slots=True)
class Example:
    """One worked example of an exemplar pool: a question, its reasoning, its answer."""

    question: str
    reasoning: str
    answer: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question to an architecture."""

    text: str
    history: tuple[Message, ...] = ()
    """Earlier messages; they precede, unchanged, the messages of every node."""
    answer: AnswerKind = "number"
    examples: tuple[Example, ...] | None = None
    """The benchmark's exemplar pool; None means the shipped arithmetic pool."""


@dataclass(frozen=True, slots=True)
class CandidateId:
    """The origin of a candidate: a node, and the number of its sample."""

    node: str
    draw: int


@dataclass(frozen=True, slots=True)
class UnitTest:
    """A test that correct answers to the question pass, with the node that wrote it."""

    node: str
    text: str
    method: UnitTestMethod


AnnotationKind = Literal["critique", "verdict", "score", "mark"]


@dataclass(frozen=True, slots=True)
class Annotation:
    """A node's judgement of a candidate."""

    node: str
    kind: AnnotationKind
    value: str | float
    """The text of a critique, a ``VerdictKind``, a score, or a mark such as ``unverified``."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer on its path through a graph."""

    id: CandidateId
    text: str
    value: str | None
    """The answer read from the text, in canonical form (``archon.answers``); None if there is
    none."""
    parents: tuple[CandidateId, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    mean_logprob: float | None = None
    """Mean log-probability of the tokens under the model that wrote them, in nats; None if it was
    not requested or the text has no tokens."""
    messages: tuple[Message, ...] = field(default=(), compare=False, repr=False)
    """The conversation that the text answers, as its model read it."""

    def annotated(self, *annotations: Annotation) -> Candidate:
        """Return the candidate with more annotations."""
        return replace(self, annotations=self.annotations + annotations)

    def latest(self, kind: AnnotationKind) -> Annotation | None:
        """Return the newest annotation of a kind, or None."""
        return next((a for a in reversed(self.annotations) if a.kind == kind), None)

    @property
    def score(self) -> float | None:
        """The latest score, or None if there is none."""
        annotation = self.latest("score")
        return None if annotation is None else float(annotation.value)

    @property
    def critiques(self) -> tuple[Annotation, ...]:
        """Every critique, oldest first."""
        return tuple(a for a in self.annotations if a.kind == "critique")
