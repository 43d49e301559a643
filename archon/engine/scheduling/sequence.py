"""Units of scheduling: prompts, which are computed once, and the sequences forked from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field, replace

from torch import Tensor

from archon.engine.cache.kv_cache import BLOCK_SIZE
from archon.engine.cache.prefix_tree import PrefixNode
from archon.engine.sampling.constraint import Matcher
from archon.engine.sampling.penalties import TokenHistory
from archon.engine.sampling.request import FinishReason, GenerationRequest
from archon.engine.scheduling.block_table import BlockTable

LONG_ROOT = "\0long"
"""End of the names of roots for texts with the long rotary frequencies."""


@dataclass(slots=True, eq=False)
class Prompt:
    """A request in progress: the blocks of its prompt, and its sequences by state."""

    request: GenerationRequest
    long_after: int | None = None
    """Tokens of the longest text that uses the short rotary frequencies (``Rope.long_after``)."""
    num_tokens: int = field(init=False)
    num_shared_entries: int = field(init=False)
    """Number of full entries of the block tables before the prompt's last token. All sequences
    share their blocks."""
    number: int = 0
    """Order of arrival."""
    waiting: deque[Sequence] = field(default_factory=deque)
    """Sequences that have not sampled their first token."""
    running: dict[Sequence, None] = field(default_factory=dict)
    num_preempted: int = 0
    path: list[PrefixNode] = field(default_factory=list)
    """The shared entries' nodes in the prefix tree."""
    tables: list[BlockTable] = field(default_factory=list)
    """Block table of each layer group: the shared entries, then the *tail*, one entry of the
    prompt's last tokens, which each sequence copies when it starts."""
    num_computed: int = 0
    """Number of tokens whose keys and values are in the cache."""
    num_cached: int = 0
    """Number of prompt tokens that the next sequence reports as cached. All other tokens were
    computed for it.
    """
    last_logits_V: Tensor | None = None
    """Next-token logits after the prompt, kept while sequences wait for them."""
    hidden_E: Tensor | None = None
    """Tensor for the last token's hidden state; None if it is not requested."""

    def __post_init__(self) -> None:
        self.num_tokens = self.num_cached = len(self.request.prompt_ids)
        self.num_shared_entries = max(self.num_tokens - 1, 0) // BLOCK_SIZE
        num_first = 1 if self.request.beams else len(self.request.draws)  # beams fork from one
        self.waiting.extend(Sequence(self, i) for i in range(num_first))

    @property
    def num_needed(self) -> int:
        """Number of tokens to compute: all if sequences wait for the logits, else those in the
        shared entries."""
        return self.num_tokens if self.waiting else self.num_shared_entries * BLOCK_SIZE

    @property
    def is_unfinished(self) -> bool:
        return bool(self.waiting or self.running or self.num_preempted)

    @property
    def is_long(self) -> bool:
        """True if the prompt itself uses the long rotary frequencies."""
        return self.long_after is not None and self.num_tokens > self.long_after

    @property
    def root(self) -> str:
        """Name of its root in the prefix tree: keys and values depend on the adapter, and on the
        kind of rotary frequencies."""
        return self.request.adapter + (LONG_ROOT if self.is_long else "")

    @property
    def group_size(self) -> int:
        """Number of sequences that must run together: the beams of a search, else 1."""
        return self.request.beams or 1

    @property
    def has_tail(self) -> bool:
        """True until all sequences have copied the tokens after the shared entries."""
        return bool(self.tables) and self.tables[0].num_entries > self.num_shared_entries

    @property
    def logits_from(self) -> int:
        """Position of the first token after which logits are needed."""
        return self.num_tokens if self.request.hidden else self.num_tokens - 1

    def tokens(self, start: int, stop: int) -> SequenceOf[int]:
        """Return the tokens at positions ``start`` to ``stop`` - 1."""
        return self.request.prompt_ids[start:stop]


@dataclass(slots=True, eq=False)
class Sequence:
    """One sample in progress."""

    prompt: Prompt
    index: int
    """Index of the sample within the request."""
    request: GenerationRequest = field(init=False)
    num_tokens: int = field(init=False)
    """Number of tokens of the prompt and the sample together."""
    num_shared_entries: int = field(init=False)
    """Leading entries that belong to the prompt; 0 if the sequence became long after it."""
    is_long: bool = False
    """True if it uses the long rotary frequencies."""
    ticket: int = -1
    """Number in the order of starting. A sequence is never preempted for one that started later."""
    tables: list[BlockTable] = field(default_factory=list)
    """Block table of each layer group: the prompt's shared entries, then its own."""
    capacity: int = 0
    """Number of tokens for which all tables have entries."""
    token_ids: list[int] = field(default_factory=list)
    """The sample so far: sampled and forced tokens."""
    num_computed: int = 0
    """Number of tokens of prompt and sample whose keys and values are in the cache."""
    num_cached: int = 0
    """Number of prompt tokens that did not have to be computed for this sample."""
    logprobs: list[float] = field(default_factory=list)
    top_logprobs: list[tuple[tuple[int, float], ...]] = field(default_factory=list)
    """The likeliest tokens at each position with their log-probabilities, if requested."""
    total_logprob: float = 0.0
    """Sum of the log-probabilities of a beam's tokens, in nats."""
    shares_last_entry: bool = False
    """Whether another beam may share the blocks to which this beam writes next."""
    sample_key: bytes = b""
    history: TokenHistory | None = None
    """Tokens so far, if the request's rule has a penalty."""
    matcher: Matcher | None = None
    """State of the request's constraint."""
    ending: FinishReason | None = None
    """Finish reason; None while tokens can follow. Forced tokens may still have to be scored."""
    ended_by: int | None = None
    """The sampled stop token that ended the sequence; None if there was none."""

    def __post_init__(self) -> None:
        self.request = self.prompt.request
        self.num_tokens = self.prompt.num_tokens + len(self.token_ids)
        self.is_long = self.is_long or self.prompt.is_long
        self.num_shared_entries = self.prompt.num_shared_entries if self.shares_prompt else 0

    @property
    def shares_prompt(self) -> bool:
        """True if the keys and values of the prompt's blocks are valid for the sequence."""
        return self.is_long == self.prompt.is_long

    @property
    def outgrows(self) -> bool:
        """True if the sequence has become longer than its rotary frequencies allow."""
        limit = self.prompt.long_after
        return not self.is_long and limit is not None and self.num_tokens > limit

    def become_long(self) -> None:
        """Use the long rotary frequencies; the sequence must have no blocks."""
        assert not self.tables
        self.is_long, self.num_shared_entries = True, 0

    def append(self, token: int) -> None:
        """Add a token."""
        self.token_ids.append(token)
        self.num_tokens += 1
        if self.history is not None:
            self.history.add(token)

    @property
    def num_needed(self) -> int:
        """Number of tokens to compute: all, but without the last token of an ended sequence, to
        which no token attends."""
        return self.num_tokens - (self.ending is not None)

    @property
    def num_unscored(self) -> int:
        """Number of forced tokens whose requested log-probability is not computed yet."""
        return len(self.token_ids) - len(self.logprobs) if self.request.logprobs else 0

    @property
    def logits_from(self) -> int:
        """Position of the first token after which logits are needed."""
        return self.num_tokens - 1 - self.num_unscored

    @property
    def own_blocks(self) -> list[int]:
        """The blocks, after the shared entries, that it has not given back."""
        return [block for table in self.tables for block in table.held(self.num_shared_entries)]

    def copy(self) -> Sequence:
        """Return a copy with the same blocks, which can continue with other tokens."""
        return replace(
            self,
            tables=[table.copy() for table in self.tables],
            token_ids=self.token_ids.copy(),
            logprobs=self.logprobs.copy(),
        )

    def tokens(self, start: int, stop: int) -> SequenceOf[int]:
        """Return the tokens of prompt and sample at positions ``start`` to ``stop`` - 1."""
        num_prompt = self.prompt.num_tokens
        if start >= num_prompt:
            return self.token_ids[start - num_prompt : stop - num_prompt]
        rest = self.token_ids[: max(stop - num_prompt, 0)]
        return [*self.request.prompt_ids[start:stop], *rest]

    def add_sampled(self, token: int) -> None:
        """Add a sampled token, then the tokens that the constraint forces after it.

        Raises
        ------
        EngineError
            No continuation satisfies the constraint.
        """
        is_end = token in self.request.stop_ids
        if self.matcher is not None:
            self.matcher.advance(token)
        if not is_end:
            self._extend(token)
        elif self.matcher is None or self.matcher.finished:
            self.ending, self.ended_by = "stop", token
        if self.matcher is not None:
            self.add_forced()

    def add_forced(self) -> None:
        """Add forced tokens until the constraint leaves a choice or the sequence ends.

        Raises
        ------
        EngineError
            No continuation satisfies the constraint.
        """
        if self.matcher is None:
            return
        while self.ending is None and (forced := self.matcher.forced()):
            for token in forced:
                self.matcher.advance(token)
                self._extend(token)
                if self.ending is not None:
                    break
        if self.ending is None and self.matcher.finished:
            self.ending = "stop"

    def _extend(self, token: int) -> None:
        self.append(token)
        on_token = self.request.on_token
        if on_token is not None and on_token(self.index, token):
            self.ending = "stop"
        elif len(self.token_ids) >= self.request.max_tokens:
            self.ending = "length"
