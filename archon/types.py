"""The words that every part of Archon speaks: requests, completions, questions, candidates.

All but ``Hold`` are immutable values. Tokens are counted in tokens, times in seconds,
log-probabilities in nats.
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
"""What a budget bounds."""
UnitTestMethod = Literal["reason", "program"]
"""A statement that a right answer satisfies, or Python that asserts something of a program."""

# ---------------------------------------------------------------- what a language model is asked


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
    """Applies where no request, node or card sets it. Its type is that of all values."""
    is_neutral: bool = True
    """The default changes nothing: servers are not sent it."""
    is_sampler: bool = False
    """It changes the distribution of each token, so the engine's ``SamplingRule`` has it."""
    is_openai: bool = False
    """OpenAI's protocol has it. Servers are sent these and all samplers."""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    max_length: int | None = None
    """Of a tuple."""

    def has_effect(self, value: object) -> bool:
        """Whether a value is set and changes something."""
        return value is not None and not (self.is_neutral and value == self.default)


def _parameter(help: str, default: object, **declaration: Any) -> Any:
    """A field of ``SamplingParams``, None where it is not set."""
    parameter = SamplingParameter(help=help, default=default, **declaration)
    return field(default=None, metadata={"parameter": parameter})


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next token is sampled; ``None`` leaves a choice to whoever is asked next.

    A node's values take precedence over its model card's, a card's over ``DEFAULT_SAMPLING``.
    """

    temperature: float | None = _parameter(
        "0 is greedy.", 0.7, ge=0, le=10, is_neutral=False, is_sampler=True, is_openai=True
    )
    """0 is greedy; otherwise logits are divided by it."""
    top_k: int | None = _parameter("0 keeps every token.", 0, ge=0, le=1_000_000, is_sampler=True)
    """Keep the k most probable tokens; 0 keeps all."""
    top_p: float | None = _parameter(
        "1 keeps every token.", 1.0, gt=0, le=1, is_sampler=True, is_openai=True
    )
    """Keep the fewest tokens whose probability reaches p; 1 keeps all."""
    min_p: float | None = _parameter("0 keeps every token.", 0.0, ge=0, le=1, is_sampler=True)
    """Keep tokens at least this share as probable as the best; 0 keeps all."""
    max_tokens: int | None = _parameter(
        "New tokens at most.", 512, ge=1, le=1_000_000, is_neutral=False, is_openai=True
    )
    """Upper bound of the new tokens."""
    stop: tuple[str, ...] | None = _parameter(
        "The text ends before the first of these strings.", (), max_length=16, is_openai=True
    )
    """The text ends before the first of these."""
    beams: int | None = _parameter(
        "Find the likeliest texts by beam search; 0 draws.", 0, ge=0, le=256
    )
    """0 samples at random; more finds the likeliest texts by beam search of that width. Sample k is
    then the (k modulo ``beams``)-th best, and no sampler parameter is used."""

    def over(self, base: SamplingParams) -> SamplingParams:
        """These values where they are set, ``base``'s elsewhere."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(base, **{name: value for name, value in own.items() if value is not None})


SAMPLING_PARAMETERS: Mapping[str, SamplingParameter] = {
    f.name: f.metadata["parameter"] for f in fields(SamplingParams)
}
EXTRA_SAMPLERS = {n: p for n, p in SAMPLING_PARAMETERS.items() if p.is_sampler and not p.is_openai}
"""Samplers that OpenAI's protocol does not have."""
SAMPLER_PARAMETERS = {
    n: p for n, p in SAMPLING_PARAMETERS.items() if p.is_sampler and p.is_openai
} | EXTRA_SAMPLERS
"""Those that change the distribution of each token, OpenAI's first."""
SENT_PARAMETERS = SAMPLER_PARAMETERS | {n: p for n, p in SAMPLING_PARAMETERS.items() if p.is_openai}
"""Those that servers are sent."""
_FIRST_PARAMETERS = {"temperature", "top_k", "top_p", "min_p", "max_tokens", "stop", "beams"}
LATER_PARAMETERS = frozenset(SAMPLING_PARAMETERS.keys() - _FIRST_PARAMETERS)
"""Those that did not exist when samples and runs were first stored. Keys and files contain them
only where they have an effect, so that whatever was stored without them stays valid."""
DEFAULT_SAMPLING = SamplingParams(**{n: p.default for n, p in SAMPLING_PARAMETERS.items()})


def sampling_values(sampling: SamplingParams) -> dict[str, Any]:
    """The values by name, as traces and sample keys contain them."""
    values = {name: getattr(sampling, name) for name in SAMPLING_PARAMETERS}
    return {
        name: value
        for name, value in values.items()
        if name not in LATER_PARAMETERS or SAMPLING_PARAMETERS[name].has_effect(value)
    }


@dataclass(frozen=True, slots=True)
class Thinking:
    """Whether and how long a model reasons before it answers; what is unset is left to whoever is
    asked next: a node's values take precedence over its model card's."""

    enabled: bool | Literal["auto"] | None = None
    """True or False asks for reasoning or for none, in the way that the model knows; "auto" asks
    for nothing, whatever the card says."""
    template_variables: Mapping[str, object] | None = None
    """Variables of the chat template, in addition to those that every template gets."""
    max_tokens: int | None = None
    """Upper bound of the tokens of reasoning; then the end marker is inserted, and the model
    answers."""

    def over(self, base: Thinking) -> Thinking:
        """These values where they are set, ``base``'s elsewhere; variables are merged by name."""
        variables = {**(base.template_variables or {}), **(self.template_variables or {})}
        return Thinking(
            base.enabled if self.enabled is None else self.enabled,
            variables or None,
            base.max_tokens if self.max_tokens is None else self.max_tokens,
        )

    @property
    def wanted(self) -> bool | None:
        """Whether reasoning is asked for; None asks for nothing."""
        return None if self.enabled == "auto" else self.enabled

    @property
    def key(self) -> str | None:
        """Names all of it, equal for equal values; None where nothing is asked for."""
        if self.wanted is None and not self.template_variables and self.max_tokens is None:
            return None
        variables = self.template_variables or {}
        return json.dumps([self.wanted, variables, self.max_tokens], sort_keys=True, default=dict)


@dataclass(frozen=True, slots=True)
class FreeText:
    """Text of any form that comes before a constrained one: an argument before its verdict.

    ``label`` then begins a line, and the form follows it after a space. The model may begin that
    line itself; where it ends its text without it, or uses up its room, the label is put there.
    """

    label: str
    room: int
    """So many of ``max_tokens`` are kept for the last line. As many as it has bytes, a line end
    before it included, are always enough."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A form that the generated text must have: exactly one of the first three is set."""

    json_schema: Mapping[str, object] | None = None
    regex: str | None = None
    order_of: tuple[str, ...] | None = None
    """Each of these once, in any order, with " > " between them; at most 64."""
    after: FreeText | None = None
    """The form comes after this; without it, the form is the whole text."""

    @property
    def num_forms(self) -> int:
        """How many forms are set; one is right."""
        return sum(form is not None for form in (self.json_schema, self.regex, self.order_of))


@dataclass(slots=True, eq=False)
class Hold:
    """Prompts asked under one hold will be read again until it is released.

    A hint to what caches prompts: it keeps them longer than others while there is room for both.
    """

    released: bool = False

    def release(self) -> None:
        """Nobody will read them again. May be called from any thread, and twice."""
        self.released = True


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a language model, asking for ``n`` draws.

    Draw k of a request is a function of (seed, model and precision, prompt tokens, sampling,
    constraint, k) alone; the request asks for draws ``first_draw`` to ``first_draw + n - 1``.
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
    """The kind of answer wanted."""
    thinking: Thinking = Thinking()
    hold: Hold | None = field(default=None, compare=False, repr=False)
    """Says how long the prompt is worth keeping; no draw depends on it."""


# ------------------------------------------------------------------------- what it gives back


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and calls. One call is one completion, and each call counts its whole prompt."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens that were found in a cache or a pool and not computed again."""
    completion_tokens: int = 0
    generated_tokens: int = 0
    """Completion tokens really decoded: hits in a pool of draws are left out."""
    choice_tokens: int = 0
    """Tokens of scored choices."""
    calls: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Completion:
    """One draw of a request."""

    text: str
    draw: int
    finish_reason: FinishReason
    usage: Usage
    prompts: Mapping[str, int]
    """Digest of (model, prompt tokens) → tokens, for each distinct prompt read; cost counts each
    digest once an answer. A plain model has one; an architecture has those of all its nodes."""
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    """Log-probability of each token of ``token_ids`` under the model itself (temperature 1)."""
    tokens: tuple[bytes, ...] | None = field(default=None, compare=False, repr=False)
    """The bytes of each token where log-probabilities were asked for, for people who read them:
    none for control tokens. They follow from ``token_ids``, so that no pool keeps them."""
    reasoning: str = ""
    """What the model reasoned before it answered, markers included; ``text`` begins after it. Token
    ids, log-probabilities and usage are those of both together."""
    is_reasoning_cut_off: bool = False
    """The reasoning never ended, so that there is no answer and ``text`` is empty."""
    notes: tuple[str, ...] = ()
    """What whoever reads the trace should know of how the request was carried out, such as a
    system message that had to be put into the user's."""
    score: float | None = None
    """What a beam search ranked it by: the mean log-probability of its tokens."""
    choice_logprobs: Mapping[str, float] | None = None
    """Log-probability of each choice that the request asked to be scored."""
    error: str | None = None
    """Why this sample failed where others of its request did not; ``text`` is empty then, and
    ``finish_reason`` is "error"."""
    trace: object | None = field(default=None, compare=False, repr=False)
    """What an architecture did to make this text (``archon.graph.trace.Trace``)."""


def total_usage(completions: Iterable[Completion]) -> Usage:
    """The sum of the completions' usage."""
    return sum((completion.usage for completion in completions), Usage())


def cost_tokens(completions: Iterable[Completion]) -> int:
    """Completion tokens, plus each distinct prompt once, plus the tokens of scored choices.

    Caches and pools are not deducted: cost says what was asked for, not what it took.
    """
    completions = list(completions)
    prompts: dict[str, int] = {}
    for completion in completions:
        prompts.update(completion.prompts)
    usage = total_usage(completions)
    return usage.completion_tokens + usage.choice_tokens + sum(prompts.values())


# ------------------------------------------------------------------------ events while it runs


@dataclass(frozen=True, slots=True)
class TokenDelta:
    """More text of one draw. ``node`` is empty where a plain model speaks."""

    draw: int
    text: str
    node: str = ""
    is_reasoning: bool = False
    """The text belongs to the reasoning before the answer (``Completion.reasoning``)."""


@dataclass(frozen=True, slots=True)
class NodeStarted:
    """A node's inputs are there and it begins."""

    node: str


@dataclass(frozen=True, slots=True)
class NodeFinished:
    """A node is done; ``candidates`` is how many it passes on."""

    node: str
    candidates: int
    usage: Usage
    seconds: float
    bypassed: bool = False
    cut: Limit | None = None
    """What the budget had too little of, so that it made fewer calls than it is told to."""


Event = TokenDelta | NodeStarted | NodeFinished
OnEvent = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What a model is doing at one moment, for people who wait for it."""

    doing: Literal["loading", "decoding", "calling"]
    """Loading its weights, decoding in the local engine, or calling a server."""
    num_running: int = 0
    """Texts that decode, or calls that are under way."""
    num_waiting: int = 0
    """Prompts that are not computed yet, or calls that no place is free for."""
    generated_tokens: int = 0
    """Tokens drawn since the model was opened."""
    cache_used: float | None = None
    """Share of the engine's cache that live texts hold."""
    cached_prompt_share: float | None = None
    """Share of the prompts' tokens that were in the cache when the prompts came."""


# --------------------------------------------------------------------- what flows through a graph


@dataclass(frozen=True, slots=True)
class Example:
    """One worked example of an exemplar pool: a question, its reasoning, its answer."""

    question: str
    reasoning: str
    answer: str


@dataclass(frozen=True, slots=True)
class Question:
    """What an architecture is asked."""

    text: str
    history: tuple[Message, ...] = ()
    """Earlier messages; they go unchanged before every node's own."""
    answer: AnswerKind = "number"
    examples: tuple[Example, ...] | None = None
    """The benchmark's exemplar pool; None means the shipped arithmetic pool."""


@dataclass(frozen=True, slots=True)
class CandidateId:
    """Who made a candidate: the node, and which of its draws."""

    node: str
    draw: int


@dataclass(frozen=True, slots=True)
class UnitTest:
    """A test that right answers to the question pass, signed by the node that wrote it."""

    node: str
    text: str
    method: UnitTestMethod


AnnotationKind = Literal["critique", "verdict", "score", "mark"]


@dataclass(frozen=True, slots=True)
class Annotation:
    """What a node said of a candidate, signed by the node."""

    node: str
    kind: AnnotationKind
    value: str | float
    """Text of a critique, a ``VerdictKind``, a score, or a mark such as ``unverified``."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer on its way through a graph."""

    id: CandidateId
    text: str
    value: str | None
    """The answer read from the text, in canonical form (``archon.answers``); None if none."""
    parents: tuple[CandidateId, ...] = ()
    annotations: tuple[Annotation, ...] = field(default=())
    mean_logprob: float | None = None
    """Mean log-probability of its tokens under the model that wrote it, in nats; None where it
    was not asked for, or the text has no tokens."""
    messages: tuple[Message, ...] = field(default=(), compare=False, repr=False)
    """The conversation that it answers, as the model that wrote it read it."""

    def annotated(self, *annotations: Annotation) -> Candidate:
        """The same candidate with more annotations."""
        return replace(self, annotations=self.annotations + annotations)

    def latest(self, kind: AnnotationKind) -> Annotation | None:
        """The newest annotation of a kind, or None."""
        return next((a for a in reversed(self.annotations) if a.kind == kind), None)

    @property
    def score(self) -> float | None:
        """The latest score, or None where nothing scored it."""
        annotation = self.latest("score")
        return None if annotation is None else float(annotation.value)

    @property
    def critiques(self) -> tuple[Annotation, ...]:
        """Every critique, oldest first."""
        return tuple(a for a in self.annotations if a.kind == "critique")
