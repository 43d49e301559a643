"""The int8, int4 or native decoder on a CPU: one call of ``kernels/step.cpp`` computes a step.

Its results equal those of ``Decoder`` in torch, up to the rounding of norms and softmax. A token's
results are bit-identical regardless of the other tokens in the step.
"""

from __future__ import annotations

import ctypes
import math
from array import array
from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from itertools import chain
from operator import attrgetter

import numpy as np
import torch
from torch import Tensor

from archon.engine.cache.kv_cache import BLOCK_SIZE, bytes_per_block
from archon.engine.kernels.block_packing import PANEL_OUTPUTS, STRIP_OUTPUTS, num_inputs
from archon.engine.kernels.packing import Packed, huge_pages, pack_low_rank
from archon.engine.model.config import DecoderConfig, ExpertConfig
from archon.engine.model.lora import Adapter, LowRank, head_change, layer_changes
from archon.engine.model.precision import Precision
from archon.engine.model.rope import RopeAngles, RopeTable
from archon.engine.sampling.penalties import Histories, TokenHistory
from archon.engine.sampling.sampler import SamplingRule
from archon.engine.span import Span
from archon.types import LogitBias

_NUMBER_TYPES: dict[type, str] = {float: "f4", int: "i4"}
_RULE_FIELDS = {f.name: f.default for f in fields(SamplingRule) if f.name != "logit_bias"}
_RULE = np.dtype([(n, _NUMBER_TYPES[type(d)]) for n, d in _RULE_FIELDS.items()], align=True)
_values_of = attrgetter(*_RULE_FIELDS)
_CHANGES = np.dtype(
    [("biased", "u8"), ("biases", "u8"), ("num_biased", "i8"),
     ("used", "u8"), ("counts", "u8"), ("num_used", "i8")]
)  # fmt: skip
"""``Changes`` of ``sample.cpp``."""
_PHASES = ("products", "attention", "head", "rest")


# The ctypes structures below mirror the structs of ``product.h`` and ``step.cpp``, field by field.


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _pointers(*names: str) -> list[tuple[str, type[ctypes.c_void_p]]]:
    return [(name, ctypes.c_void_p) for name in names]


def _integers(*names: str) -> list[tuple[str, type[ctypes.c_int64]]]:
    return [(name, ctypes.c_int64) for name in names]


_LINEAR_PARTS = (
    "weight", "scale", "shift", "group_scale", "offset", "strip_format", "strip_start", "bias"
)  # fmt: skip


class NativeLinear(ctypes.Structure):
    """``Linear`` of ``product.h``: pointers to a packed linear layer, and its sizes."""

    _fields_ = (*_pointers(*_LINEAR_PARTS), *_integers("outputs", "inputs"))

    @classmethod
    def of(cls, packed: Packed, name: str) -> NativeLinear:
        """Return pointers to the packed linear layer ``name``; its tensors must stay alive."""
        parts = [packed.get(f"{name}.{part}") for part in _LINEAR_PARTS]
        if name + ".strip_format" in packed:
            outputs = len(packed[name + ".strip_format"]) * STRIP_OUTPUTS
            return cls(*map(_pointer, parts), outputs, num_inputs(packed, name))
        panels, runs, _, _ = packed[name + ".weight"].shape
        inputs_per_run = 8 if name + ".group_scale" in packed else 4
        return cls(*map(_pointer, parts), panels * PANEL_OUTPUTS, runs * inputs_per_run)


_NORMS = (
    "attention_norm", "attention_post_norm", "ffn_norm", "ffn_post_norm", "q_norm", "k_norm"
)  # fmt: skip
_LINEARS = ("qkv", "output", "gate_up", "down")
_EXPERT_LINEARS = ("experts_gate_up", "experts_down")


class _Layer(ctypes.Structure):
    _fields_ = (
        *_pointers(*_NORMS),
        *((name, NativeLinear) for name in _LINEARS),
        *_pointers("router"),
        *((name, NativeLinear) for name in _EXPERT_LINEARS),
        *_integers("rope", "window", "group", "member", "row"),
    )

    @classmethod
    def of(cls, packed: Packed, index: int, model: DecoderConfig) -> _Layer:
        at, config = f"layers.{index}.", model.layers[index]
        norms = [packed.get(at + name) for name in _NORMS]
        linears, experts = (
            [
                NativeLinear.of(packed, at + name)
                if f"{at}{name}.weight" in packed
                else NativeLinear()
                for name in names
            ]
            for names in (_LINEARS, _EXPERT_LINEARS)
        )
        rope = -1 if config.rope is None else model.ropes.index(config.rope)
        place = model.cache_layout.places[index]
        numbers = rope, config.window or 0, place.group, place.member, place.row
        router = _pointer(packed.get(at + "router"))
        return cls(*map(_pointer, norms), *linears, router, *experts, *numbers)


class _LowRank(ctypes.Structure):
    _fields_ = (*_pointers("a", "b"), *_integers("rank"))


class _AdaptedLayer(ctypes.Structure):
    _fields_ = tuple((name, _LowRank) for name in _LINEARS)


class _AdapterTable(ctypes.Structure):
    _fields_ = (*_pointers("layers"), ("head", _LowRank))


class _NativeAdapter:
    """An adapter in the kernels' layout; it keeps the tensors alive that its pointers refer to."""

    def __init__(self, adapter: Adapter, config: DecoderConfig) -> None:
        self._tensors: list[Tensor] = []
        self.max_rank = 0
        changes = [layer_changes(adapter, index, config) for index in range(config.num_layers)]
        self._layers = (_AdaptedLayer * config.num_layers)(
            *(_AdaptedLayer(*(self._part(name, c.get(name)) for name in _LINEARS)) for c in changes)
        )
        head = self._part("head", head_change(adapter))
        self._table = _AdapterTable(ctypes.addressof(self._layers), head)
        self.address = ctypes.addressof(self._table)

    def _part(self, name: str, change: LowRank | None) -> _LowRank:
        if change is None:
            return _LowRank()
        a, b = pack_low_rank(name, change)
        self._tensors += [a, b]
        self.max_rank = max(self.max_rank, len(a))
        return _LowRank(a.data_ptr(), b.data_ptr(), len(a))


_NUMBERS = (
    "epsilon", "attention_scale", "attention_softcap", "logit_softcap", "embedding_scale",
    "residual_scale", "logit_scale",
)  # fmt: skip


class _Model(ctypes.Structure):
    _fields_ = (
        *_integers(
            "num_layers", "width", "ffn_width", "heads", "kv_heads", "head_width", "threads",
            "num_groups", "norms_projections", "rope_width", "is_gelu", "num_experts", "num_used",
            "expert_width", "normalises_shares",
        ),
        *((name, ctypes.c_float) for name in _NUMBERS),
        *_pointers("embedding", "norm", "layers", "group_sizes"),
        ("head", NativeLinear), ("embedding_blocks", NativeLinear),
        *_pointers("rotation_sign", "rotation_mix"),
    )  # fmt: skip


class _Step(ctypes.Structure):
    _fields_ = (
        *_integers("num_tokens", "num_logits"),
        *_pointers("token", "position", "table", "cosine", "sine", "logit_token", "cache"),
        *_integers("num_blocks"),
        *_pointers("logits", "seconds", "adapter"),
        *_integers("max_rank", "num_hidden"),
        *_pointers("hidden_token", "hidden"),
    )


class NativeCache:
    """Keys and values in bfloat16, in the kernels' layout.

    ``blocks`` has shape (rows, G, blocks, 2 · D · 16). A block of a head consists of its keys,
    (D / 2, 16, 2), followed by its values, (8, D, 2), so it is contiguous in memory.
    """

    def __init__(self, config: DecoderConfig, num_blocks: int) -> None:
        self.num_blocks, self.layout = num_blocks, config.cache_layout
        block = 2 * config.head_width * BLOCK_SIZE
        shape = (self.layout.num_rows, config.num_kv_heads, num_blocks, block)
        self.blocks = huge_pages(2 * math.prod(shape)).view(torch.bfloat16).view(shape)

    def copy_blocks(self, source: int, targets: Sequence[int]) -> None:
        """Copy one block to each target."""
        self.blocks[:, :, list(targets)] = self.blocks[:, :, [source]]


class NativeDecoder:
    """An int8, int4 or native decoder that the compiled kernels compute.

    Parameters
    ----------
    packed
        Parameters in ``precision`` (``archon.engine.kernels.packing``).
    kernels
        The compiled library (``archon.engine.kernels``).
    """

    device = torch.device("cpu")

    def __init__(
        self,
        config: DecoderConfig,
        packed: Packed,
        kernels: ctypes.CDLL,
        precision: Precision = "int8",
    ) -> None:
        self.config, self.precision = config, precision
        self._packed, self._kernels = packed, kernels
        self._workspace = kernels.archon_workspace_new()
        ropes = config.ropes
        self._ropes = [RopeTable(rope, self.device) for rope in ropes]
        self._layers = (_Layer * config.num_layers)(
            *(_Layer.of(packed, i, config) for i in range(config.num_layers))
        )
        groups = config.cache_layout.groups
        self._group_sizes = np.array([group.size for group in groups], np.int64)
        experts = config.experts
        ffn_width = max(config.ffn_width, 0 if experts is None else experts.shared_width)
        sizes = (
            config.num_layers, config.width, ffn_width, config.num_heads,
            config.num_kv_heads, config.head_width, torch.get_num_threads(), len(self._group_sizes),
            int(config.traits.qk_norm == "projection"), ropes[0].width if ropes else 0,
            int(config.traits.activation == "gelu_tanh"), *_expert_sizes(experts),
        )  # fmt: skip
        numbers = (
            config.norm_epsilon, config.attention_scale or 0, config.attention_softcap,
            config.logit_softcap, config.embedding_scale, config.residual_scale,
            config.logit_scale,
        )  # fmt: skip
        outer = _pointer(packed.get("embedding")), _pointer(packed["norm"])
        layers, head = ctypes.addressof(self._layers), NativeLinear.of(packed, "head")
        self._model = _Model(*sizes, *numbers, *outer, layers, self._group_sizes.ctypes.data, head)
        if "embedding" not in packed:
            own = "embedding" if "embedding.weight" in packed else "head"
            self._model.embedding_blocks = NativeLinear.of(packed, own)
        self._model.rotation_sign = _pointer(packed.get("rotation.sign"))
        self._model.rotation_mix = _pointer(packed.get("rotation.mix"))
        self._logits = torch.empty(0, self._model.head.outputs)
        self._seconds = np.zeros(len(_PHASES))
        self.adapters: dict[str, _NativeAdapter] = {}

    def __del__(self) -> None:
        self._kernels.archon_workspace_free(self._workspace)

    @property
    def bytes_per_block(self) -> int:
        """Bytes of one cache block."""
        return bytes_per_block(self.config, torch.bfloat16)

    def add_adapter(self, adapter: Adapter) -> None:
        """Add an adapter, whose parameters are in the basis of the packed weights.

        An adapter with the same digest is not replaced, because a step may have pointers to it.
        """
        self.adapters.setdefault(adapter.digest, _NativeAdapter(adapter, self.config))

    def drop_adapter(self, digest: str) -> None:
        """Remove the adapter with this digest."""
        del self.adapters[digest]

    def new_cache(self, num_blocks: int) -> NativeCache:
        """Return an empty cache in the kernels' layout."""
        return NativeCache(self.config, num_blocks)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds spent in the kernels so far, by phase."""
        return dict(zip(_PHASES, self._seconds.tolist(), strict=True))

    @torch.inference_mode()
    def __call__(self, spans: Sequence[Span], cache: NativeCache) -> Tensor:
        """Run one step (``archon.engine.decoder_protocol``).

        The next step overwrites the memory of the returned logits.
        """
        # After sorting, spans with a common prefix are neighbours and read its blocks together.
        order = sorted(range(len(spans)), key=lambda i: spans[i].tables[0].tobytes())
        lengths = np.array([len(spans[i].token_ids) for i in order])
        ends = np.cumsum(lengths)
        tokens = np.fromiter(chain.from_iterable(spans[i].token_ids for i in order), np.int32)
        starts = np.array([spans[i].start for i in order])
        position = np.arange(ends[-1]) - np.repeat(ends - lengths - starts, lengths)
        tables_GS = [
            [spans[i].tables[group].buffer_info()[0] for i in order]
            for group in range(len(self._group_sizes))
        ]
        rows = self._logit_tokens(spans, order, ends)
        is_long = np.repeat(np.array([spans[i].is_long for i in order]), lengths)
        cosine, sine = self._angles(torch.from_numpy(position), torch.from_numpy(is_long))
        tables = np.repeat(np.array(tables_GS, np.uintp), lengths, axis=1)
        arrays = tokens, position.astype(np.int32), tables
        adapted = self._adapted([spans[i].adapter for i in order], lengths)
        hidden = [(end - 1, spans[i].hidden_E) for i, end in zip(order, ends, strict=True)]
        hidden_tokens = np.array([at for at, target in hidden if target is not None], np.int64)
        targets = np.array([t.data_ptr() for _, t in hidden if t is not None], np.uintp)
        self._reserve_logits(len(rows))
        inputs = (
            *(a.ctypes.data for a in arrays), cosine.data_ptr(), sine.data_ptr(), rows.ctypes.data,
            cache.blocks.data_ptr(), cache.num_blocks,
        )  # fmt: skip
        outputs = self._logits.data_ptr(), self._seconds.ctypes.data
        adapters = (
            None if adapted is None else adapted.ctypes.data,
            # A copy, since the thread that loads a model may add an adapter at the same time.
            max((adapter.max_rank for adapter in list(self.adapters.values())), default=0),
        )
        hidden_states = len(targets), hidden_tokens.ctypes.data, targets.ctypes.data
        step = _Step(len(tokens), len(rows), *inputs, *outputs, *adapters, *hidden_states)
        self._model.threads = torch.get_num_threads()
        self._kernels.archon_step(ctypes.byref(self._model), ctypes.byref(step), self._workspace)
        return self._logits[: len(rows), : self.config.vocab_size]

    def sample(
        self,
        logits: Sequence[Tensor],
        rules: Sequence[SamplingRule],
        noise: Sequence[float],
        histories: Histories | None = None,
    ) -> list[int]:
        """Sample one token per row (``archon.engine.sampling.sampler.sample``)."""
        return native_sample(self._kernels, logits, rules, noise, histories)

    def _adapted(self, names: Sequence[str], lengths: np.ndarray) -> np.ndarray | None:
        """Return the address of each token's adapter, 0 for none; None if no token has one."""
        if not any(names):
            return None
        addresses = [self.adapters[name].address if name else 0 for name in names]
        return np.repeat(np.array(addresses, np.uintp), lengths)

    def _angles(self, position_N: Tensor, is_long_N: Tensor) -> RopeAngles:
        """Return the cosines and sines of every table: (tables, N, R / 2) each."""
        if not self._ropes:
            return torch.empty(0), torch.empty(0)
        angles = [table.angles(position_N, is_long_N) for table in self._ropes]
        return torch.stack([cos for cos, _ in angles]), torch.stack([sin for _, sin in angles])

    @staticmethod
    def _logit_tokens(spans: Sequence[Span], order: list[int], ends: np.ndarray) -> np.ndarray:
        """Return the indices of the tokens that need logits, in the order of the spans."""
        end_of = dict(zip(order, ends.tolist(), strict=True))
        wanted = (range(end_of[i] - span.num_logits, end_of[i]) for i, span in enumerate(spans))
        return np.fromiter(chain.from_iterable(wanted), np.int64)

    def _reserve_logits(self, num_rows: int) -> None:
        """Enlarge the logits' memory if needed. It is reused because allocation is slow."""
        if num_rows > len(self._logits):
            self._logits = torch.empty(-(-num_rows // 64) * 64, self._logits.shape[1])


def _expert_sizes(experts: ExpertConfig | None) -> tuple[int, int, int, int]:
    """Return the fields of ``Model`` for the sparse layers; zeros if there are none."""
    if experts is None:
        return 0, 0, 0, 0
    return experts.num_experts, experts.num_used, experts.width, int(experts.normalises)


def native_sample(
    kernels: ctypes.CDLL,
    logits: Sequence[Tensor],
    rules: Sequence[SamplingRule],
    noise: Sequence[float],
    histories: Histories | None = None,
) -> list[int]:
    """Sample one token per row with the kernels (``archon.engine.sampling.sampler.sample``)."""
    rows = np.array([row.data_ptr() for row in logits], np.uintp)
    rule_array = np.array([_values_of(rule) for rule in rules], _RULE)
    noise_array = np.array(noise, np.float64)
    tokens = np.empty(len(rows), np.int64)
    changes = None
    if any(rule.logit_bias or rule.has_penalty for rule in rules):
        every = zip(rules, histories or [None] * len(rules), strict=True)
        changes = np.array([_changes(rule, history) for rule, history in every], _CHANGES)
    kernels.archon_sample(
        rows.ctypes.data, logits[0].numel(), len(rows), rule_array.ctypes.data,
        None if changes is None else changes.ctypes.data, noise_array.ctypes.data,
        tokens.ctypes.data, torch.get_num_threads(),
    )  # fmt: skip
    sampled: list[int] = tokens.tolist()
    return sampled


def _changes(rule: SamplingRule, history: TokenHistory | None) -> tuple[int, ...]:
    """Return ``Changes`` of one row: pointers into its rule's bias and its history."""
    biased, biases = _bias_arrays(rule.logit_bias)
    bias = biased.buffer_info()[0], biases.buffer_info()[0], len(biased)
    if history is None or not rule.has_penalty:
        return *bias, 0, 0, 0
    used, counts = history.tokens, history.counts
    return *bias, used.buffer_info()[0], counts.buffer_info()[0], len(used)


@lru_cache(1024)
def _bias_arrays(bias: LogitBias) -> tuple[array[int], array[float]]:
    """Return tokens and biases as arrays."""
    return array("i", [token for token, _ in bias]), array("f", [value for _, value in bias])
