"""The units of scheduling: a prompt that is prefilled once, and its sequences."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field, replace

from torch import Tensor

from archon.engine.cache.kv_cache import BLOCK_SIZE, num_blocks_for
from archon.engine.cache.prefix_tree import PrefixNode
from archon.engine.sampling.constraint import Matcher
from archon.engine.sampling.request import FinishReason, GenerationRequest


def _no_blocks() -> array[int]:
    return array("i")


@dataclass(slots=True, eq=False)
class Prompt:
    """A request in progress: its prompt's blocks, and its sequences by state."""

    request: GenerationRequest
    num_tokens: int = field(init=False)
    num_shared_blocks: int = field(init=False)
    """The whole blocks before the prompt's last token, which sequences share by reference."""
    number: int = 0
    """Order of arrival."""
    waiting: deque[Sequence] = field(default_factory=deque)
    """Sequences that have not sampled their first token."""
    running: dict[Sequence, None] = field(default_factory=dict)
    num_preempted: int = 0
    path: list[PrefixNode] = field(default_factory=list)
    """Nodes of the prefix tree that hold the prompt's shared blocks."""
    blocks: array[int] = field(default_factory=_no_blocks)
    """Block table: the shared blocks, then one for the prompt's last tokens, which is copied to
    each sequence when it starts."""
    num_computed: int = 0
    """Tokens whose keys and values are in the cache."""
    num_cached: int = 0
    """Tokens that the next sequence does not need computed; it is charged for the rest."""
    last_logits_V: Tensor | None = None
    """Logits after the prompt, from its computation until no sequence waits for them."""
    hidden_E: Tensor | None = None
    """Receives its last token's hidden state, if requested."""

    def __post_init__(self) -> None:
        self.num_tokens = self.num_cached = len(self.request.prompt_ids)
        self.num_shared_blocks = max(self.num_tokens - 1, 0) // BLOCK_SIZE
        num_first = 1 if self.request.beams else len(self.request.draws)  # beams fork from one
        self.waiting.extend(Sequence(self, i) for i in range(num_first))

    @property
    def num_needed(self) -> int:
        """Tokens to compute: running sequences need the shared blocks, waiting ones the logits
        after the last token."""
        return self.num_tokens if self.waiting else self.num_shared_blocks * BLOCK_SIZE

    @property
    def is_unfinished(self) -> bool:
        return bool(self.waiting or self.running or self.num_preempted)

    @property
    def num_together(self) -> int:
        """Sequences that run together or not at all: the beams of a search, or one."""
        return self.request.beams or 1

    @property
    def num_own_blocks(self) -> int:
        """Blocks that these need at most besides the shared ones: tail and new tokens of each."""
        num_blocks = num_blocks_for(self.num_tokens + self.request.max_tokens)
        return (num_blocks - self.num_shared_blocks) * self.num_together

    @property
    def tail_block(self) -> int | None:
        """Block of the tokens after the shared ones, while sequences wait for it."""
        own = self.blocks[self.num_shared_blocks :]
        return own[0] if own else None

    @property
    def logits_from(self) -> int:
        """Logits are wanted after every token from this position on."""
        return self.num_tokens if self.request.hidden else self.num_tokens - 1

    @property
    def adapter(self) -> str:
        return self.request.adapter

    def hidden_at(self, stop: int) -> Tensor | None:
        """Where the hidden state of the token before a position goes, if requested."""
        return self.hidden_E if stop == self.num_tokens else None

    def tokens(self, start: int, stop: int) -> SequenceOf[int]:
        """Tokens at these positions."""
        return self.request.prompt_ids[start:stop]


@dataclass(slots=True, eq=False)
class Sequence:
    """One sample in progress."""

    prompt: Prompt
    index: int
    """Its index within the request."""
    num_tokens: int = field(init=False)
    """Tokens of prompt and sample."""
    num_shared_blocks: int = field(init=False)
    ticket: int = -1
    """Order of starting; a sequence is never preempted for one that started later."""
    blocks: array[int] = field(default_factory=_no_blocks)
    """Block table: the prompt's shared blocks, then its own."""
    token_ids: list[int] = field(default_factory=list)
    """Sampled so far."""
    num_computed: int = 0
    """Tokens, the prompt's included, whose keys and values are in the cache."""
    num_cached: int = 0
    """Tokens of the prompt that were not computed for this sample."""
    logprobs: list[float] = field(default_factory=list)
    total_logprob: float = 0.0
    """Of a beam: the sum over its tokens."""
    shares_last_block: bool = False
    """Whether another beam may share the block that it writes next."""
    draw_key: bytes = b""
    matcher: Matcher | None = None
    """Follows its constraint."""
    ending: FinishReason | None = None
    """Why it ends, once known; forced tokens may still have to be scored."""
    ended_by: int | None = None
    """The sampled stop token, if one ended it."""

    def __post_init__(self) -> None:
        self.num_tokens = self.prompt.num_tokens + len(self.token_ids)
        self.num_shared_blocks = self.prompt.num_shared_blocks

    def append(self, token: int) -> None:
        """Add a token."""
        self.token_ids.append(token)
        self.num_tokens += 1

    @property
    def num_needed(self) -> int:
        """Tokens whose keys and values are needed: nothing attends to the last token of an ended
        sequence."""
        return self.num_tokens - (self.ending is not None)

    @property
    def num_unscored(self) -> int:
        """Forced tokens whose log-probability is requested and not known yet."""
        return len(self.token_ids) - len(self.logprobs) if self.prompt.request.logprobs else 0

    @property
    def logits_from(self) -> int:
        """Logits are wanted after every token from this position on."""
        return self.num_tokens - 1 - self.num_unscored

    @property
    def adapter(self) -> str:
        return self.prompt.request.adapter

    def hidden_at(self, stop: int) -> Tensor | None:
        """None: hidden states are those of prompts."""
        return None

    @property
    def own_blocks(self) -> array[int]:
        return self.blocks[self.num_shared_blocks :]

    def copy(self) -> Sequence:
        """A copy with the same blocks, to be continued differently."""
        return replace(
            self,
            blocks=self.blocks[:],
            token_ids=self.token_ids.copy(),
            logprobs=self.logprobs.copy(),
        )

    def tokens(self, start: int, stop: int) -> SequenceOf[int]:
        """Tokens at these positions, of prompt and sample."""
        num_prompt = self.prompt.num_tokens
        if start >= num_prompt:
            return self.token_ids[start - num_prompt : stop - num_prompt]
        rest = self.token_ids[: max(stop - num_prompt, 0)]
        return [*self.prompt.request.prompt_ids[start:stop], *rest]

    def take(self, token: int) -> None:
        """Add a sampled token and the tokens that it forces, until the sequence ends.

        Raises
        ------
        EngineError
            The constraint cannot be followed further.
        """
        is_end = token in self.prompt.request.stop_ids
        if self.matcher is not None:
            self.matcher.advance(token)
        if not is_end:
            self._extend(token)
        elif self.matcher is None or self.matcher.finished:
            self.ending, self.ended_by = "stop", token
        if self.matcher is not None:
            self.follow()

    def follow(self) -> None:
        """Add the tokens that the constraint forces, until there is a choice or an end.

        Raises
        ------
        EngineError
            The constraint cannot be followed further.
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
        request = self.prompt.request
        self.append(token)
        if request.on_token is not None and request.on_token(self.index, token):
            self.ending = "stop"
        elif len(self.token_ids) >= request.max_tokens:
            self.ending = "length"
