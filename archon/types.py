"""Types shared by all packages: requests, completions, events, questions and candidates.

All types except ``Hold`` are immutable. Times are in seconds, and log-probabilities are in nats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
AnswerKind = Literal["number", "text", "choice", "math", "code", "json"]
"""Type of answers; ``archon.answers.kinds`` declares each."""
FinishReason = Literal["stop", "length", "tool_calls", "choices", "cancelled", "error"]
VerdictKind = Literal["pass", "fail", "abstain"]
Limit = Literal["tokens", "calls", "seconds", "compute"]
"""A resource that a question's budget limits."""
LogitBias = tuple[tuple[int, float], ...]
"""Pairs (token id, number to add to its logit), in the order of the ids."""
UnitTestMethod = Literal["reason", "program"]
"""Type of a unit test.

``reason``: a statement that a correct answer satisfies. ``program``: Python assertions."""

# ------------------------------------------------------------------------------------- requests


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool by a model."""

    name: str
    arguments: str
    """The arguments as the text of a JSON object."""
    id: str = ""
    """Identifier to which the message with the result refers."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """Calls in a turn of the assistant."""
    tool_call_id: str = ""
    """The call whose result ``content`` is, if the role is ``tool``."""
    name: str = ""
    """Name of the called tool, if the role is ``tool``."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call."""

    name: str
    description: str = ""
    parameters: Mapping[str, object] | None = None
    """JSON Schema of the arguments, which form an object; None for a function without any."""
    strict: bool = False
    """Whether the arguments must match the schema."""


@dataclass(frozen=True, slots=True)
class NamedTool:
    """A choice of tools: the model must call this tool."""

    name: str


ToolChoice = Literal["auto", "none", "required"] | NamedTool
"""Whether a model may call tools (``auto``), must not (``none``), must call any, or a certain one.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParameter:
    """Declaration of a sampling parameter, which is a field of ``SamplingParams``.

    The file schema, the request fields of ``archon serve``, the fields of requests to servers, the
    engine's ``SamplingRule`` and the keys of stored samples are all derived from it.
    """

    help: str
    """Description of the parameter in the file schema."""
    default: Any
    """Value if neither the request nor the node nor the card sets the parameter. It also determines
    the parameter's type.
    """
    is_neutral: bool = True
    """Whether the default has no effect. If so, it is not sent to servers."""
    is_sampler: bool = False
    """Whether the parameter changes the distribution of each token. If so, it is a field of the
    engine's ``SamplingRule``.
    """
    is_openai: bool = False
    """Whether the parameter is part of OpenAI's protocol. These parameters and all samplers are
    sent to servers.
    """
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    max_length: int | None = None
    """Maximum length of a tuple or an object."""
    is_by_token: bool = False
    """True if the value is a ``LogitBias``. In JSON it is an object with token ids as keys, and
    ``ge`` and ``le`` are the bounds of its values."""
    works_with_beams: bool = True
    """False if a beam search refuses the parameter instead of ignoring it."""

    def has_effect(self, value: object) -> bool:
        """Return True if the value is set and differs from a neutral default."""
        return value is not None and not (self.is_neutral and value == self.default)

    def to_json(self, value: Any) -> Any:
        """Return a value as JSON data."""
        if self.is_by_token and value is not None:
            return {str(token): bias for token, bias in value}
        return list(value) if isinstance(value, tuple) else value


def _parameter(help: str, default: object, **declaration: Any) -> Any:
    """Declare a field of ``SamplingParams``, which is None unless it is set."""
    parameter = SamplingParameter(help=help, default=default, **declaration)
    return field(default=None, metadata={"parameter": parameter})


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Sampling parameters. A parameter that is None is not set.

    A node's values override those of its model card, which override ``DEFAULT_SAMPLING``.
    The rules of sampling apply in the order that ``archon.engine.sampling.sampler`` gives.
    """

    temperature: float | None = _parameter(
        "Temperature, by which logits are divided; 0 for greedy decoding.",
        0.7,
        ge=0,
        le=10,
        is_neutral=False,
        is_sampler=True,
        is_openai=True,
    )
    """Divide the logits by this number; 0 for greedy decoding."""
    top_k: int | None = _parameter(
        "Keep the k most probable tokens; 0 keeps all.", 0, ge=0, le=1_000_000, is_sampler=True
    )
    """Keep the k most probable tokens; 0 keeps all."""
    top_p: float | None = _parameter(
        "Keep the smallest set of tokens whose total probability is at least p; 1 keeps all.",
        1.0,
        gt=0,
        le=1,
        is_sampler=True,
        is_openai=True,
    )
    """Keep the smallest set of tokens whose total probability is at least p; 1 keeps all."""
    min_p: float | None = _parameter(
        "Drop tokens whose probability, relative to the most probable token, is below this number; "
        "0 keeps all.",
        0.0,
        ge=0,
        le=1,
        is_sampler=True,
    )
    """Drop tokens whose probability, relative to the most probable token, is below this number; 0
    keeps all."""
    max_tokens: int | None = _parameter(
        "Maximum number of new tokens.", 512, ge=1, le=1_000_000, is_neutral=False, is_openai=True
    )
    """Maximum number of new tokens."""
    stop: tuple[str, ...] | None = _parameter(
        "Strings before which the text ends.", (), max_length=16, is_openai=True
    )
    """Strings before which the text ends."""
    beams: int | None = _parameter(
        "Width of a beam search for the most likely texts; 0 for random sampling.", 0, ge=0, le=256
    )
    """Width of a beam search for the most likely texts; 0 for random sampling.

    With a beam search, sample k is the text of rank k modulo ``beams``. Temperature and truncation
    have no effect on it; penalties, ``logit_bias`` and ``top_logprobs`` are rejected."""
    repetition_penalty: float | None = _parameter(
        "Penalty of all tokens that the prompt or the text contains: a positive logit is divided "
        "by it, a negative one multiplied; 1 for none.",
        1.0,
        gt=0,
        le=10,
        is_sampler=True,
        works_with_beams=False,
    )
    """Divide the logit of each token of prompt and text by this number if it is positive, and
    multiply it otherwise; 1 changes nothing (Keskar et al. 2019, arXiv 1909.05858)."""
    presence_penalty: float | None = _parameter(
        "Number that is subtracted from the logit of each token that the text so far contains; 0 "
        "for none.",
        0.0,
        ge=-2,
        le=2,
        is_sampler=True,
        is_openai=True,
        works_with_beams=False,
    )
    """Subtract this number from the logit of each token of the text so far, without the prompt."""
    frequency_penalty: float | None = _parameter(
        "Number that is subtracted from a token's logit for each time that the text so far "
        "contains the token; 0 for none.",
        0.0,
        ge=-2,
        le=2,
        is_sampler=True,
        is_openai=True,
        works_with_beams=False,
    )
    """Subtract this number times its count in the text so far from the logit of each token."""
    typical_p: float | None = _parameter(
        "Keep the smallest set of tokens whose total probability is at least this number, those "
        "first whose information is closest to the entropy; 1 keeps all.",
        1.0,
        gt=0,
        le=1,
        is_sampler=True,
    )
    """Locally typical sampling (Meister et al. 2022, arXiv 2202.00666): keep the tokens whose
    −log p is closest to the entropy, up to this total probability; 1 keeps all."""
    top_n_sigma: float | None = _parameter(
        "Drop tokens whose logit is more than this number of standard deviations below the largest "
        "logit; 0 keeps all.",
        0.0,
        ge=0,
        le=1000,
        is_sampler=True,
    )
    """Drop tokens whose logit is more than this number of standard deviations of all logits below
    the largest one (Tang et al. 2024, arXiv 2411.07641); 0 keeps all."""
    logit_bias: tuple[tuple[int, float], ...] | None = _parameter(
        "Token id → number that is added to the token's logit; -100 bans a token.",
        (),
        ge=-100,
        le=100,
        max_length=1024,
        is_sampler=True,
        is_openai=True,
        is_by_token=True,
        works_with_beams=False,
    )
    """Numbers to add to the logits of tokens. A mapping from token ids to numbers is accepted as
    well."""
    top_logprobs: int | None = _parameter(
        "Number of likeliest tokens to return at each position, with their log-probabilities; 0 "
        "for none.",
        0,
        ge=0,
        le=20,
        is_openai=True,
        works_with_beams=False,
    )
    """Number of likeliest tokens to return at each position (``Completion.top_logprobs``). It does
    not change the text."""

    def __post_init__(self) -> None:
        """Bring ``logit_bias`` into its one form: ordered, without zeros."""
        if self.logit_bias:
            pairs = dict(self.logit_bias).items()
            ordered = tuple(sorted((int(token), float(bias)) for token, bias in pairs if bias))
            object.__setattr__(self, "logit_bias", ordered)
        elif self.logit_bias is not None:
            object.__setattr__(self, "logit_bias", ())

    def over(self, base: SamplingParams) -> SamplingParams:
        """Return the parameters, with unset values taken from ``base``."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(base, **{name: value for name, value in values.items() if value is not None})


SAMPLING_PARAMETERS: Mapping[str, SamplingParameter] = {
    f.name: f.metadata["parameter"] for f in fields(SamplingParams)
}
EXTRA_SAMPLERS = {n: p for n, p in SAMPLING_PARAMETERS.items() if p.is_sampler and not p.is_openai}
"""Sampler parameters that are not part of OpenAI's protocol."""
SAMPLER_PARAMETERS = {
    n: p for n, p in SAMPLING_PARAMETERS.items() if p.is_sampler and p.is_openai
} | EXTRA_SAMPLERS
"""Parameters that change the distribution of each token. Parameters of OpenAI's protocol come
first.
"""
SENT_PARAMETERS = SAMPLER_PARAMETERS | {n: p for n, p in SAMPLING_PARAMETERS.items() if p.is_openai}
"""Parameters that are sent to servers."""
_FIRST_PARAMETERS = {"temperature", "top_k", "top_p", "min_p", "max_tokens", "stop", "beams"}
LATER_PARAMETERS = frozenset(SAMPLING_PARAMETERS.keys() - _FIRST_PARAMETERS)
"""Parameters that are newer than Archon's first version. Sample keys and run files contain them
only if they have an effect, so that older keys and files stay valid.
"""
DEFAULT_SAMPLING = SamplingParams(**{n: p.default for n, p in SAMPLING_PARAMETERS.items()})


def sampling_values(sampling: SamplingParams) -> dict[str, Any]:
    """Return the values by name as JSON data, in the form of traces and sample keys.

    Parameters in ``LATER_PARAMETERS`` that have no effect are omitted.
    """
    return {
        name: parameter.to_json(value)
        for name, parameter in SAMPLING_PARAMETERS.items()
        if parameter.has_effect(value := getattr(sampling, name)) or name not in LATER_PARAMETERS
    }


def refused_with_beams(sampling: SamplingParams) -> list[str]:
    """Return the parameters that have an effect and that a beam search refuses."""
    return [
        name
        for name, parameter in SAMPLING_PARAMETERS.items()
        if not parameter.works_with_beams and parameter.has_effect(getattr(sampling, name))
    ]


@dataclass(frozen=True, slots=True)
class Thinking:
    """Thinking parameters: whether a model reasons before it answers, and for how long.

    A parameter that is None is not set. A node's values override those of its model card.
    """

    enabled: bool | Literal["auto"] | None = None
    """True turns thinking on, and False turns it off. "auto" leaves the choice to the model, even
    if the card turns thinking on or off.
    """
    template_variables: Mapping[str, object] | None = None
    """Variables for the chat template, in addition to those that Archon sets."""
    max_tokens: int | None = None
    """Maximum number of reasoning tokens. At the limit, the end marker is inserted so that the
    model answers.
    """

    def over(self, base: Thinking) -> Thinking:
        """Return the parameters, with unset values taken from ``base``.

        Template variables are merged by name.
        """
        variables = {**(base.template_variables or {}), **(self.template_variables or {})}
        return Thinking(
            base.enabled if self.enabled is None else self.enabled,
            variables or None,
            base.max_tokens if self.max_tokens is None else self.max_tokens,
        )

    @property
    def wanted(self) -> bool | None:
        """True to turn thinking on, False to turn it off, None to leave it to the model."""
        return None if self.enabled == "auto" else self.enabled

    @property
    def key(self) -> str | None:
        """The parameters' part of a sample key; None if all have their defaults."""
        if self.wanted is None and not self.template_variables and self.max_tokens is None:
            return None
        variables = self.template_variables or {}
        return json.dumps([self.wanted, variables, self.max_tokens], sort_keys=True, default=dict)


@dataclass(frozen=True, slots=True)
class FreeText:
    """Free text before a constrained last line, such as an argument before a verdict.

    The last line consists of ``label``, a space and the constrained text. If the model does not
    write the label, it is inserted when the model ends its text or when only ``room`` tokens
    remain.
    """

    label: str
    room: int
    """Number of tokens, out of ``max_tokens``, that are reserved for the last line. The line's
    length in bytes, including the line break before it, is always enough.
    """


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint on the generated text. Exactly one of the first three fields must be set."""

    json_schema: Mapping[str, object] | None = None
    regex: str | None = None
    order_of: tuple[str, ...] | None = None
    """Items (at most 64) that the text must list in any order, separated by " > "."""
    after: FreeText | None = None
    """Free text before the constrained line; None if the complete text is constrained."""

    @property
    def num_forms(self) -> int:
        """The number of the first three fields that are set; 1 in a valid constraint."""
        grammars = (self.json_schema, self.regex, self.order_of)
        return sum(grammar is not None for grammar in grammars)


@dataclass(frozen=True, slots=True)
class RawPrompt:
    """Text, or token ids, that a model continues without a chat template."""

    text: str = ""
    token_ids: tuple[int, ...] | None = None
    """Token ids that replace ``text``. Nothing is added to them."""
    add_special_tokens: bool = True
    """Whether ``text`` begins with the token that begins each text of the model, such as BOS. It is
    not added if the text already begins with it, or if the model has none."""


@dataclass(slots=True, eq=False)
class Hold:
    """Pins cached prompts that will be needed again, until it is released.

    A pin is only a hint: a cache evicts unpinned prompts first.
    """

    released: bool = False

    def release(self) -> None:
        """Remove the pin. Any thread may call this method, even repeatedly."""
        self.released = True


@dataclass(frozen=True, slots=True)
class Request:
    """A request for ``n`` samples from a language model.

    The samples are numbered from ``first_draw`` to ``first_draw + n - 1``. Sample k depends only on
    k, the seed, the model and its precision, the prompt, and the request's parameters.
    """

    messages: tuple[Message, ...]
    n: int = 1
    first_draw: int = 0
    seed: int = 0
    sampling: SamplingParams = SamplingParams()
    choices: tuple[str, ...] | None = None
    """Continuations to score instead of generating text."""
    constraint: Constraint | None = None
    logprobs: bool = False
    """Whether to return the log-probability of every generated token."""
    answer: AnswerKind | None = None
    """Type of the expected answer."""
    thinking: Thinking = Thinking()
    hold: Hold | None = field(default=None, compare=False, repr=False)
    """Pins the prompt in caches. Samples do not depend on it."""
    ending: bool = True
    """See ``Question.ending``; only an architecture reads it."""
    prompt: RawPrompt | None = None
    """Prompt to continue instead of ``messages``, which are then empty. The complete text is the
    answer; reasoning is not separated from it."""
    prompt_logprobs: bool = False
    """Whether to return the log-probabilities of the tokens of ``prompt``
    (``Completion.scored_prompt``). If it is True, ``max_tokens`` may be 0."""
    tools: tuple[Tool, ...] = ()
    """Tools that the model may call."""
    tool_choice: ToolChoice = "auto"
    """Without effect if there are no tools."""
    parallel_tool_calls: bool = True
    """Whether one completion may call several tools. Without effect if there are no tools."""

    @property
    def offered_tools(self) -> tuple[Tool, ...]:
        """The tools that the model can call: none if the choice is ``none``."""
        return () if self.tool_choice == "none" else self.tools


# ---------------------------------------------------------------------------------- completions


@dataclass(frozen=True, slots=True)
class Usage:
    """Token and call counts. A call is one completion, and includes its complete prompt."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens that were found in a cache or a pool instead of being computed."""
    completion_tokens: int = 0
    generated_tokens: int = 0
    """Completion tokens that were generated, excluding samples reused from a pool."""
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
class TokenLogprob:
    """A likely token at a position of a completion."""

    logprob: float
    """Log-probability under the model at temperature 1, in nats."""
    token_id: int | None = None
    """None if a server does not name it."""
    token: bytes | None = None
    """Bytes of the token; empty for control tokens, None if they are unknown."""


UNNUMBERED = -1
"""``Completion.draw`` of a sample whose model does not number it."""


@dataclass(frozen=True, slots=True)
class PromptToken:
    """A token of a prompt, with its log-probability after the tokens before it."""

    text: bytes
    """The token's text. A control token has its name, such as ``<|im_start|>``."""
    token_id: int
    logprob: float | None
    """In nats, at temperature 1; None for the first token, which nothing predicts."""
    top_logprobs: tuple[TokenLogprob, ...] = ()
    """Likeliest tokens at this position, if the request asks for them."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One sample of a request. A custom model may return it with a text alone."""

    text: str
    draw: int = UNNUMBERED
    """Number of the sample. If a model leaves it out, the graph numbers the samples in order."""
    finish_reason: FinishReason = "stop"
    usage: Usage = Usage()
    """If a text has no ``completion_tokens``, its token counts are unknown."""
    prompts: Mapping[str, int] = field(default_factory=dict)
    """Digest of the model and prompt → number of prompt tokens. A model's completion has one
    prompt. An architecture's completion has the distinct prompts of all its nodes. An answer's cost
    includes each digest once.
    """
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    """Log-probability of each generated token under the model at temperature 1."""
    tokens: tuple[bytes, ...] | None = field(default=None, compare=False, repr=False)
    """Bytes of each token if log-probabilities are requested; empty for control tokens. Pools do
    not store them, since they follow from ``token_ids``."""
    top_logprobs: tuple[tuple[TokenLogprob, ...], ...] | None = None
    """For each generated token, the likeliest tokens at its position, likeliest first, if the
    sampling parameter ``top_logprobs`` asks for them. They are those of the model at temperature 1,
    before penalties, biases and constraints."""
    reasoning: str = ""
    """Reasoning before the answer, including its markers. ``text`` is only the answer, but token
    ids, log-probabilities and usage include the reasoning."""
    is_reasoning_cut_off: bool = False
    """Whether the reasoning was cut off, so that there is no answer and ``text`` is empty."""
    notes: tuple[str, ...] = ()
    """Notes in the trace on how the request was processed, such as "the chat template omits the
    system message".
    """
    score: float | None = None
    """With beam search, the mean log-probability of the tokens, by which texts are ranked."""
    choice_logprobs: Mapping[str, float] | None = None
    """Each choice of the request → its log-probability."""
    error: str | None = None
    """Reason why this sample failed although other samples of its request succeeded. In this case,
    ``text`` is empty, and ``finish_reason`` is "error".
    """
    scored_prompt: tuple[PromptToken, ...] | None = field(default=None, compare=False, repr=False)
    """The prompt's tokens, if the request asks for their log-probabilities."""
    trace: object | None = field(default=None, compare=False, repr=False)
    """Trace of the architecture that generated the text (``archon.graph.trace.Trace``)."""
    tool_calls: tuple[ToolCall, ...] = ()
    """Calls of the request's tools, in order. ``text`` is the text without them."""


def total_usage(completions: Iterable[Completion]) -> Usage:
    """Return the total usage of all completions."""
    return sum((completion.usage for completion in completions), Usage())


def cost_tokens(completions: Iterable[Completion]) -> int:
    """Return the cost of completions in tokens.

    The cost includes completion tokens, each distinct prompt once, and the tokens of scored
    choices. Tokens from caches and pools are included too, so the cost does not depend on the
    caches' content.
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
    """New text of one sample. ``node`` is the generating node, or empty for a plain model."""

    draw: int
    text: str
    node: str = ""
    is_reasoning: bool = False
    """Whether the text is reasoning before the answer (``Completion.reasoning``)."""


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A part of a tool call of one sample. The first part of a call has its id and its name."""

    draw: int
    index: int
    """Position of the call in ``Completion.tool_calls``."""
    arguments: str = ""
    """New text of the arguments."""
    id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class NodeStarted:
    """Event: a node starts, after all of its inputs have arrived."""

    node: str
    run: int = 0
    """Sample of the ``ArchitectureLM`` to which the node's work belongs."""


@dataclass(frozen=True, slots=True)
class NodeFinished:
    """Event: a node has finished. ``candidates`` is the number of candidates in its output."""

    node: str
    candidates: int
    usage: Usage
    seconds: float
    bypassed: bool = False
    cut: Limit | None = None
    """The exhausted resource if the node made fewer calls because of the budget; otherwise None."""
    run: int = 0
    """See ``NodeStarted.run``."""
    trace: Any = field(default=None, compare=False, repr=False)
    """The node's ``archon.graph.trace.NodeTrace``: its calls, and its candidates."""


@dataclass(frozen=True, slots=True)
class NodeDelta:
    """Event of an ``ArchitectureLM``: new text of sample ``draw`` of a node.

    It is no part of the answer, whose text is in ``TokenDelta``.
    """

    node: str
    draw: int
    text: str
    is_reasoning: bool = False
    run: int = 0
    """See ``NodeStarted.run``."""


Event = TokenDelta | ToolCallDelta | NodeStarted | NodeFinished | NodeDelta
OnEvent = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Current activity of a model, for progress displays."""

    doing: Literal["loading", "decoding", "calling"]
    """Whether the model loads weights, decodes in the local engine, or calls a server."""
    num_running: int = 0
    """Number of sequences that are being decoded, or of calls in progress."""
    num_waiting: int = 0
    """Number of prompts that are waiting to be computed, or of calls that are waiting for a slot.
    """
    generated_tokens: int = 0
    """Number of tokens generated since the model was opened."""
    cache_used: float | None = None
    """Share of the engine's cache that running sequences use."""
    cached_prompt_share: float | None = None
    """Share of all prompt tokens that were found in the cache."""


# ---------------------------------------------------------------------- questions and candidates


@dataclass(frozen=True, slots=True)
class Example:
    """A worked example: a question with reasoning and an answer."""

    question: str
    reasoning: str
    answer: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question to an architecture."""

    text: str
    history: tuple[Message, ...] = ()
    """Earlier messages of the conversation. They precede the messages of every node, unchanged."""
    answer: AnswerKind = "number"
    examples: tuple[Example, ...] | None = None
    """Worked examples of the benchmark; None for the shipped examples of the answer type."""
    choices: tuple[str, ...] = ()
    """The options of a question whose answer type is ``choice``, in the order in which prompts show
    them, below ``text`` and with the letters A, B, …. If they are empty, the text has the options.
    """
    ending: bool = True
    """Whether prompts ask for an ending from which the answer can be read. If False, the complete
    reply is the answer: generators get the question alone, without a template's instructions and
    worked examples."""


@dataclass(frozen=True, slots=True)
class CandidateId:
    """Identifier of a candidate: the node that generated it, and its sample number."""

    node: str
    draw: int


@dataclass(frozen=True, slots=True)
class UnitTest:
    """A test that correct answers to the question pass.

    ``node`` is the node that wrote the test.
    """

    node: str
    text: str
    method: UnitTestMethod


AnnotationKind = Literal["critique", "verdict", "score", "mark"]


@dataclass(frozen=True, slots=True)
class Annotation:
    """A judgement that a node added to a candidate."""

    node: str
    kind: AnnotationKind
    value: str | float
    """The judgement: the text of a critique, a ``VerdictKind``, a score, or a mark such as
    ``unverified``."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer that the nodes of a graph pass on and judge."""

    id: CandidateId
    text: str
    value: str | None
    """The answer extracted from the text, in canonical form (``archon.answers``); None if the text
    contains none."""
    parents: tuple[CandidateId, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    mean_logprob: float | None = None
    """Mean log-probability of the tokens, in nats, under the model that generated them. None if
    log-probabilities are not requested or the text has no tokens.
    """
    messages: tuple[Message, ...] = field(default=(), compare=False, repr=False)
    """Messages of the prompt to which the text is the model's reply."""

    def annotated(self, *annotations: Annotation) -> Candidate:
        """Return a copy of the candidate with additional annotations."""
        return replace(self, annotations=self.annotations + annotations)

    def latest(self, kind: AnnotationKind) -> Annotation | None:
        """Return the latest annotation of a kind, or None if there is none."""
        return next((a for a in reversed(self.annotations) if a.kind == kind), None)

    @property
    def score(self) -> float | None:
        """The latest score; None if there is none."""
        annotation = self.latest("score")
        return None if annotation is None else float(annotation.value)

    @property
    def critiques(self) -> tuple[Annotation, ...]:
        """All critiques, oldest first."""
        return tuple(a for a in self.annotations if a.kind == "critique")
