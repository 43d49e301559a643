"""Rules for request fields that have no effect or are not supported.

``archon.serve.requests`` defines the fields that are applied. Clients send many other fields,
mostly with values that have no effect, and a request must not fail because of them. Each known
field has a rule:

- A *label* never changes an answer. Any value is accepted. - A *hint* is ignored. The
``x-archon-ignored`` response header lists it, unless its value is neutral. - An *unsupported* field
would change the answer. It is rejected, unless its value is neutral.

Unknown fields are ignored and listed in the header. A field that looks like a misspelling of a
field that changes the answer is rejected. ``--strict`` rejects all fields that the header would
list.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal
from urllib.parse import quote

from archon.types import EXTRA_SAMPLERS, SAMPLER_PARAMETERS, SAMPLING_PARAMETERS

IGNORED_HEADER = "x-archon-ignored"
"""Response header that names the request fields that had no effect."""
_MAX_REPORTED = 20
_MAX_IGNORED = 100
"""Maximum number of ignored fields. Each unknown field is compared with all known fields."""
_MAX_KEY = 60
_NEAR = 0.85
"""Minimum similarity (difflib) at which a name counts as a misspelling of another."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Rule for a request field that is not applied."""

    kind: Literal["label", "hint", "unsupported"]
    neutral: tuple[object, ...] = ()
    """Values that have no effect, in addition to null."""
    advice: str = ""
    """Error message if the field is rejected, with the reason and what to do instead."""

    def is_neutral(self, value: object) -> bool:
        """Return True if the value has no effect."""
        return self.kind == "label" or any(
            isinstance(value, bool) == isinstance(neutral, bool) and value == neutral
            for neutral in self.neutral
        )


Rules = Mapping[str, Rule]

_LABEL = Rule("label")


def _hint(*neutral: object) -> Rule:
    return Rule("hint", neutral)


def _unsupported(advice: str, *neutral: object) -> Rule:
    return Rule("unsupported", neutral, advice)


def _labels(*names: str) -> dict[str, Rule]:
    return dict.fromkeys(names, _LABEL)


_NO_TOOLS = "tools are not supported"
*_SAMPLERS, _LAST_SAMPLER = SAMPLER_PARAMETERS
_NO_SAMPLER = f"this sampler is not supported; use {', '.join(_SAMPLERS)} or {_LAST_SAMPLER}"
_USE_FORMAT = "not supported; use response_format with a JSON schema"
_TEXT_ONLY = "only text is supported"

_REQUEST: Rules = {
    # Identity of the client, and a provider's handling of the request.
    **_labels(
        *("user", "safety_identifier", "metadata", "request_id", "priority", "usage"),
        *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "cache_salt"),
        *("cache_prompt", "id_slot", "keep_alive", "timings_per_token", "return_progress"),
    ),
    "store": _hint(False),
    "service_tier": _hint("auto", "default"),
    "prediction": _hint(),
    "models": _hint([]),
    "route": _hint(),
    "provider": _hint({}),
    # Amount of text and of reasoning, for which models here have no setting.
    "verbosity": _hint(),
    "reasoning": _hint({}),
    "thinking": _hint({}),
    "think": _hint(),
    "enable_thinking": _hint(),
    "include_reasoning": _hint(True),
    "reasoning_format": _hint("auto", "none"),
    # Tools.
    "functions": _unsupported(f'{_NO_TOOLS}; leave it out, or send function_call "none"', []),
    "function_call": _unsupported(f'{_NO_TOOLS}; leave it out, or send "none"', "none", "auto"),
    "web_search_options": _unsupported("web search is not supported; leave it out"),
    "plugins": _unsupported("plugins are not supported; leave it out", []),
    "moderation": _unsupported("moderation is not supported; leave it out"),
    # Other penalties and biases.
    "repeat_penalty": _unsupported(
        "this penalty of the last tokens is not supported; use repetition_penalty", 1
    ),
    "repeat_last_n": _hint(-1),  # penalties cover all tokens
    "length_penalty": _unsupported("not supported; leave it out or send 1", 1),
    "no_repeat_ngram_size": _unsupported("not supported; leave it out or send 0", 0),
    "bad_words": _unsupported("not supported; leave it out or send []", []),
    "allowed_token_ids": _unsupported("not supported; leave it out"),
    # Other samplers.
    "best_of": _unsupported("not supported; use n, or an architecture that ranks samples", 1),
    "use_beam_search": _unsupported(
        "not supported in requests; a card's sampling has beams", False
    ),
    "do_sample": _unsupported("not supported; send temperature 0 for greedy decoding", True),
    "tfs_z": _unsupported(_NO_SAMPLER, 1),
    "top_a": _unsupported(_NO_SAMPLER, 0),
    "mirostat": _unsupported(_NO_SAMPLER, 0),
    "dynatemp_range": _unsupported(_NO_SAMPLER, 0),
    "xtc_probability": _unsupported(_NO_SAMPLER, 0),
    "dry_multiplier": _unsupported(_NO_SAMPLER, 0),
    "samplers": _unsupported(_NO_SAMPLER, []),
    # Parameters of the samplers and penalties above, without effect while those are neutral.
    **_labels(
        *("mirostat_tau", "mirostat_eta", "dynatemp_exponent", "xtc_threshold"),
        *("dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers"),
        "penalize_nl",
    ),
    # Length and end of a text, by other servers' names.
    "min_tokens": _unsupported("not supported; leave it out or send 0", 0),
    "min_new_tokens": _unsupported("not supported; leave it out or send 0", 0),
    "ignore_eos": _unsupported("not supported; leave it out or send false", False),
    "max_new_tokens": _unsupported("not supported; use max_tokens"),
    "max_output_tokens": _unsupported("not supported; use max_tokens"),
    "max_gen_toks": _unsupported("not supported; use max_tokens"),
    "max_length": _unsupported("not supported; use max_tokens"),
    "n_predict": _unsupported("not supported; use max_tokens", -1),
    "num_predict": _unsupported("not supported; use max_tokens", -1),
    "until": _unsupported("not supported; use stop", []),
    "stop_sequences": _unsupported("not supported; use stop", []),
    "stop_strings": _unsupported("not supported; use stop", []),
    "stop_token_ids": _unsupported("not supported; use stop", []),
    "include_stop_str_in_output": _unsupported(
        "not supported; answers end before the stop string", False
    ),
    "random_seed": _unsupported("not supported; use seed"),
    # Output format.
    "modalities": _unsupported(f'{_TEXT_ONLY}; leave it out or send ["text"]', ["text"]),
    "audio": _unsupported(f"{_TEXT_ONLY}; leave it out"),
    "format": _unsupported(_USE_FORMAT, ""),
    "grammar": _unsupported(_USE_FORMAT, ""),
    "json_schema": _unsupported(_USE_FORMAT),
    "guided_json": _unsupported(_USE_FORMAT),
    "guided_regex": _unsupported(_USE_FORMAT),
    "guided_choice": _unsupported(_USE_FORMAT),
    "guided_grammar": _unsupported(_USE_FORMAT),
    "structured_outputs": _unsupported(_USE_FORMAT),
    "guided_decoding_backend": _LABEL,
    "guided_whitespace_pattern": _LABEL,
    # Other parts of a prompt.
    "prompt": _unsupported("not supported; use messages"),
    "input": _unsupported("not supported; use messages"),
    "instructions": _unsupported("not supported; use a system message"),
    "suffix": _unsupported("infilling is not supported; leave it out", ""),
    "echo": _unsupported("answers do not repeat the prompt; leave it out or send false", False),
    "documents": _unsupported("not supported; put them in a message", []),
    "chat_template": _unsupported("the model's own chat template is used; leave it out"),
    "add_generation_prompt": _unsupported("not supported; leave it out or send true", True),
    "continue_final_message": _unsupported("not supported; leave it out or send false", False),
    "add_special_tokens": _unsupported("the chat template adds these tokens; leave it out", False),
    "truncate_prompt_tokens": _unsupported("prompts are not truncated; leave it out"),
    "transforms": _unsupported("prompts are not changed; leave it out", []),
    # Contents of a response.
    "prompt_logprobs": _unsupported("prompts have no log-probabilities; leave it out"),
    "n_probs": _unsupported("not supported; use top_logprobs", 0),
    "return_tokens": _unsupported("not supported; leave it out or send false", False),
    "return_token_ids": _unsupported("not supported; leave it out or send false", False),
    "return_tokens_as_token_ids": _unsupported("not supported; leave it out", False),
    "skip_special_tokens": _unsupported("texts contain no special tokens; leave it out", True),
    "spaces_between_special_tokens": _LABEL,
    # Objects with nested fields.
    "options": _unsupported("not supported; send its fields at the top level", {}),
    "extra_body": _unsupported("send its fields at the top level", {}),
    "architecture": _unsupported("use model, which selects a served architecture by its name"),
    "lora": _unsupported("adapters belong to a model card; leave it out", []),
}
REQUEST: Rules = {n: rule for n, rule in _REQUEST.items() if n not in SAMPLING_PARAMETERS}
"""Rules for fields of the body."""

NO_TOOLS: Rules = {
    "tools": _unsupported(f'{_NO_TOOLS}; leave it out, or send tool_choice "none"', []),
    "tool_choice": _unsupported(f'{_NO_TOOLS}; leave it out, or send "none"', "none", "auto"),
    "parallel_tool_calls": _LABEL,
}
"""Rules for the fields of tools, for endpoints without tools."""

MESSAGE: Rules = {
    **_labels(
        *("name", "id", "annotations", "cache_control", "provider_specific_fields"),
        *("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks"),
    ),
    "type": _unsupported(f"{_TEXT_ONLY}; leave it out", "text", "message"),
    "function_call": _unsupported(f"{_NO_TOOLS}; describe the call in the text instead"),
    "refusal": _unsupported("put the refusal in the content field", ""),
    "audio": _unsupported(f"{_TEXT_ONLY}; leave it out"),
    "images": _unsupported(f"{_TEXT_ONLY}; leave it out", []),
    "prefix": _unsupported("answers do not continue a message; leave it out", False),
    "partial": _unsupported("answers do not continue a message; leave it out", False),
}
"""Rules for fields of a message."""

PART: Rules = _labels("id", "annotations", "cache_control", "prompt_cache_breakpoint")
"""Rules for fields of a part of a message's content."""

STREAM_OPTIONS: Rules = {
    "include_obfuscation": _hint(False),
    "continuous_usage_stats": _hint(False),
}
"""Rules for fields of ``stream_options``."""

SAMPLING = (
    *("temperature", "top_p", "max_tokens", "max_completion_tokens", "stop"),
    *("presence_penalty", "frequency_penalty", "logit_bias", *EXTRA_SAMPLERS),
)
"""Sampling fields. They have no effect on an architecture that does not apply them to any node.
"""


class BadRequestError(Exception):
    """A request is invalid or not supported. ``param`` is the field at fault, if known."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        self.message, self.param, self.code, self.status = message, param, code, status
        super().__init__(message)


class FieldError(BadRequestError):
    """A request contains an unsupported or unknown field."""

    def __init__(self, key: str, reason: str, code: Literal["unsupported", "unknown_key"]) -> None:
        super().__init__(f"{key}: {reason}", param=key, code=code)
        self.reason, self.kind = reason, code


@dataclass(slots=True)
class Ignored:
    """One request's ignored fields, which are reported to the client."""

    is_strict: bool = False
    """Whether to reject these fields instead."""
    _names: dict[str, None] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The first 20 distinct names, such as ``verbosity`` or ``messages[].mood``."""
        return list(itertools.islice(self._names, _MAX_REPORTED))

    def check(
        self, key: str, value: object, place: str, rules: Rules, known: Iterable[str]
    ) -> None:
        """Apply the rule of a field: accept it, report it as ignored, or reject it.

        Parameters
        ----------
        key, value
            The field.
        place
            Prefix of the field in the report, such as ``messages[].``.
        rules
            Rules for the object's fields.
        known
            Names of the fields that are applied.

        Raises
        ------
        FieldError
            The field is not supported, is probably misspelled, or must not be ignored.
        """
        name = f"{place}{_shown(key)}"
        if name in self._names:
            return
        rule = rules.get(key)
        if rule is None:
            decisive = [*known, *(name for name, r in rules.items() if r.kind == "unsupported")]
            if (near := _nearest(key, decisive)) is not None:
                raise FieldError(key, f"unknown field; did you mean {near!r}?", "unknown_key")
        elif rule.is_neutral(value):
            return
        elif rule.kind == "unsupported":
            raise FieldError(key, rule.advice, "unsupported")
        self.add(name, key)

    def add(self, name: str, key: str) -> None:
        """Report a field as ignored.

        Raises
        ------
        FieldError
            The server is strict, or too many fields are ignored.
        """
        if self.is_strict:
            reason = "the field has no effect, and the server runs with --strict; leave it out"
            raise FieldError(key, reason, "unknown_key")
        if len(self._names) >= _MAX_IGNORED:
            reason = f"the request has more than {_MAX_IGNORED} fields that have no effect"
            raise FieldError(key, reason, "unknown_key")
        self._names[name] = None


def _nearest(key: str, names: Iterable[str]) -> str | None:
    """Return the name that ``key`` probably misspells, or None if there is none."""
    plain = {_plain(name): name for name in names}
    near = difflib.get_close_matches(_plain(key[:_MAX_KEY]), plain, n=1, cutoff=_NEAR)
    return plain[near[0]] if near else None


@lru_cache(1024)
def _plain(name: str) -> str:
    """Lower the case and remove punctuation: ``maxTokens`` and ``max-tokens`` → ``maxtokens``."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _shown(key: str) -> str:
    """Shorten and escape a client's field name for a response header. It must not be empty."""
    return quote(key[:_MAX_KEY], safe="", errors="replace") or '""'
