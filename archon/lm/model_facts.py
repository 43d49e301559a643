"""Facts about a local model that a user wants to know before running it.

They come from the files on this machine, or from the hub's description of a repository, without
loading or downloading weights. They include models that the engine does not compute itself.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from archon.engine.files.text_part import is_combined, text_defaults, text_tensors
from archon.errors import ModelError, ModelFileError, require
from archon.lm.thinking import switches
from archon.reasoning import PUBLISHED_MARKERS
from archon.spec.model import Precision
from archon.weights.hub_repository import Repository
from archon.weights.model_files import CONFIG_NAME, files_of, num_bytes_of, part_names

if TYPE_CHECKING:
    from archon.engine.files.gguf import GGUFFile

SEQUENCE_TOKENS = 1024
"""Tokens of a sequence, prompt and completion together, in figures of memory."""
NUM_SEQUENCES = (1, 64)
_MAX_HEADER_BYTES = 100_000_000
_BYTES_PER_WEIGHT = {"float32": 4.0, "bf16": 2.0, "int8": 1.0, "int4": 1.0}
_INT4_FFN_BYTES = 0.5 + 4 / 32
"""Bytes of a weight of the feed-forward network in int4, with its share of a group's scale."""
_FFN_TENSOR = re.compile(r"\.ffn_(gate|up|down)(_exps|_shexp)?\.weight$")
"""Tensors of a GGUF file: fused or not, of a dense network, of experts or of a shared network."""

ThinkingSupport = Literal["switchable", "always", "none"]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts about a model; None where they are unknown."""

    family: str | None = None
    parameters: int | None = None
    bytes: int | None = None
    """Size of the files."""
    context: int | None = None
    """Context length in tokens."""
    license: str | None = None
    chat_template: str | None = None
    is_text_part: bool = False
    """True for a model that also reads images or sound, of which only texts are supported."""
    thinking: ThinkingSupport | None = None
    """Whether the chat template can switch reasoning on and off, or always expects it."""
    memory_bytes: Mapping[int, int] | None = None
    """Number of sequences → memory of weights and cache, estimated for sequences of
    ``SEQUENCE_TOKENS`` tokens without a common prefix."""
    weights_memory_bytes: int | None = None
    """Memory of the weights alone, if that of the cache is unknown."""

    def with_template(self, template: str | None) -> ModelFacts:
        """Return the facts with a chat template and what it says about reasoning."""
        return replace(self, chat_template=template, thinking=thinking_support(template))


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes that the memory of a decoder depends on."""

    width: int
    ffn_weights: int
    """Weights of all feed-forward networks, those of experts included."""
    vocab_size: int
    cache_width: int
    """Numbers that one token adds to the cache, keys and values of all layers."""
    is_tied: bool
    windows: tuple[int | None, ...] = ()
    """Sliding window of each layer, None for a layer without one; empty if they are unknown."""


def facts_of_files(path: Path, precision: Precision) -> ModelFacts:
    """Return the facts about a GGUF file or a model folder.

    Raises
    ------
    ModelError
        A file is damaged.
    MissingExtraError
        Torch is not installed, which reads GGUF files.
    """
    return _of_folder(path, precision) if path.is_dir() else _of_gguf(path, precision)


def facts_of_repository(
    repository: Repository, file: str | None, precision: Precision
) -> ModelFacts:
    """Return the facts that the hub has about a GGUF file, or a folder (None)."""
    if file is not None:
        gguf, num_bytes = repository.gguf or {}, repository.num_bytes(part_names(file))
        parameters = _int(gguf.get("total")) or None
        facts = ModelFacts(
            family=gguf.get("architecture"),
            parameters=parameters,
            bytes=num_bytes,
            weights_memory_bytes=weights_memory_bytes(parameters, precision, num_bytes),
            context=gguf.get("context_length"),
            license=repository.license or None,
        )
        return facts.with_template(repository.chat_template)
    names = [name for name in repository.files if name.endswith(".safetensors") and "/" not in name]
    if "model.safetensors" in names or any(name.startswith("model-") for name in names):
        names = [name for name in names if name.startswith("model")]
    facts = _of_config(repository.config or {}, repository.parameters, precision)
    facts = replace(facts, bytes=repository.num_bytes(names), license=repository.license or None)
    return facts.with_template(repository.chat_template)


def thinking_support(template: str | None) -> ThinkingSupport | None:
    """Return what a chat template says about reasoning; None without a template.

    >>> thinking_support("{% if enable_thinking %}<think>{% endif %}")
    'switchable'
    >>> thinking_support("{{ text.split('</think>')[-1] }}"), thinking_support("{{ text }}")
    ('always', 'none')
    """
    if template is None:
        return None
    if switches(template) or "reasoning_effort" in template:
        return "switchable"
    return "always" if any(marker.end in template for marker in PUBLISHED_MARKERS) else "none"


# ------------------------------------------------------------------------------------ GGUF files


def _of_gguf(path: Path, precision: Precision) -> ModelFacts:
    require("torch", "engine")
    from archon.engine.files.gguf import GGUFFile

    file = GGUFFile(path)
    keys = file.metadata
    family = str(keys.get("general.architecture", "")) or None
    own = {name.removeprefix(f"{family}."): value for name, value in keys.items()}
    embedding = file.tensors.get("token_embd.weight")
    vocab_size = embedding.shape[0] if embedding is not None else 0
    parameters = sum(tensor.num_elements for tensor in file.tensors.values())
    num_layers, width = _int(own.get("block_count")), _int(own.get("embedding_length"))
    heads = _int(own.get("attention.head_count"))
    head_width = _int(own.get("attention.key_length")) or width // max(heads, 1)
    kv_heads = own.get("attention.head_count_kv", heads)
    total_heads = sum(kv_heads) if isinstance(kv_heads, list) else _int(kv_heads) * num_layers
    ffn = (tensor for name, tensor in file.tensors.items() if _FFN_TENSOR.search(name))
    shape = Shape(
        width=width,
        ffn_weights=sum(tensor.num_elements for tensor in ffn),
        vocab_size=vocab_size,
        cache_width=2 * total_heads * head_width,
        is_tied="output.weight" not in file.tensors,
        windows=_windows_of_gguf(file),
    )
    num_bytes = num_bytes_of(path)
    template = keys.get("tokenizer.chat_template")
    facts = ModelFacts(
        family=family,
        parameters=parameters,
        bytes=num_bytes,
        context=_int(own.get("context_length")) or None,
        license=str(keys.get("general.license") or "") or None,
        memory_bytes=memory_bytes(shape, parameters, precision, num_bytes),
    )
    return facts.with_template(template if isinstance(template, str) else None)


def _windows_of_gguf(file: GGUFFile) -> tuple[int | None, ...]:
    from archon.engine.model.config import config_of

    try:
        return tuple(layer.window for layer in config_of(file).layers)
    except ModelFileError:  # another library computes the model
        return ()


# --------------------------------------------------------------------------------- model folders


def _of_folder(path: Path, precision: Precision) -> ModelFacts:
    config = _json(path / CONFIG_NAME)
    facts = _of_config(config, _num_parameters(path, is_combined(config)), precision)
    return replace(facts, bytes=num_bytes_of(path)).with_template(_template(path))


def _of_config(
    config: Mapping[str, Any], parameters: int | None, precision: Precision
) -> ModelFacts:
    """Return the facts in the contents of a ``config.json``."""
    text = config.get("text_config")
    inner: Mapping[str, Any] = config
    if isinstance(text, dict):
        inner = {**config, **text_defaults(text.get("model_type")), **text}
    heads, width = _int(inner.get("num_attention_heads")), _int(inner.get("hidden_size"))
    num_layers = _int(inner.get("num_hidden_layers"))
    kv_heads = _int(inner.get("num_key_value_heads")) or heads
    head_width = _int(inner.get("head_dim")) or width // max(heads, 1)
    shape = Shape(
        width=width,
        ffn_weights=_ffn_weights(inner, num_layers),
        vocab_size=_int(inner.get("vocab_size")),
        cache_width=2 * kv_heads * head_width * num_layers,
        is_tied=bool(inner.get("tie_word_embeddings", config.get("tie_word_embeddings", False))),
        windows=_windows_of_config(inner),
    )
    return ModelFacts(
        family=str(config.get("model_type") or "") or None,
        is_text_part=isinstance(text, dict) or "vision_config" in config,
        parameters=parameters,
        context=_int(inner.get("max_position_embeddings")) or None,
        memory_bytes=memory_bytes(shape, parameters, precision, None),
    )


def _windows_of_config(config: Mapping[str, Any]) -> tuple[int | None, ...]:
    if not config.get("sliding_window"):  # so that most configurations are read without torch
        return ()
    try:
        from archon.engine.model.config_folder import layer_windows
    except ImportError:
        return ()
    try:
        return layer_windows(config, Path(CONFIG_NAME))
    except ModelFileError:
        return ()


def _ffn_weights(config: Mapping[str, Any], num_layers: int) -> int:
    """Return the weights of all feed-forward networks, those of experts included."""
    dense = _int(config.get("intermediate_size"))
    num_experts = _int(config.get("num_experts")) or _int(config.get("num_local_experts"))
    num_sparse = 0
    if num_experts:
        step, listed = _int(config.get("decoder_sparse_step")) or 1, config.get("mlp_only_layers")
        sparse = range(step - 1, num_layers, step)
        num_sparse = len(sparse)
        if isinstance(listed, list):
            num_sparse -= sum(isinstance(layer, int) and layer in sparse for layer in listed)
    expert = _int(config.get("moe_intermediate_size")) or dense
    width = num_experts * expert + _int(config.get("shared_expert_intermediate_size"))
    all_widths = num_sparse * width + (num_layers - num_sparse) * dense
    return 3 * _int(config.get("hidden_size")) * all_widths


def _num_parameters(path: Path, is_combined: bool) -> int | None:
    """Return the number of weights in the safetensors of a folder, read from their headers.

    Of a model that is combined with encoders (``archon.engine.files.text_part``), those of the
    language model count, since the others are not loaded.
    """
    sizes: dict[str, int] = {}
    for file in files_of(path):
        if file.suffix != ".safetensors":
            continue
        try:
            with file.open("rb") as opened:
                size = int.from_bytes(opened.read(8), "little")
                if size > _MAX_HEADER_BYTES:
                    raise ValueError("the header is too large")
                header = json.loads(opened.read(size))
            header.pop("__metadata__", None)
            sizes |= {name: math.prod(tensor["shape"]) for name, tensor in header.items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ModelFileError(f"{file}: is not a file of safetensors: {error}") from None
    return sum((text_tensors(sizes) if is_combined else sizes).values()) or None


def _template(path: Path) -> str | None:
    try:
        return (path / "chat_template.jinja").read_text(encoding="utf-8")
    except OSError:
        pass
    config = path / "tokenizer_config.json"
    template = _json(config).get("chat_template") if config.is_file() else None
    if isinstance(template, list):
        named = {each.get("name"): each.get("template") for each in template}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from None
    return data if isinstance(data, dict) else {}


def _int(value: object) -> int:
    """Return a size, 0 if it is unknown."""
    if isinstance(value, Sequence) and value and not isinstance(value, str):
        value = value[0]
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


# ---------------------------------------------------------------------------------------- memory


def memory_bytes(
    shape: Shape, parameters: int | None, precision: str, file_bytes: int | None
) -> dict[int, int] | None:
    """Estimate the memory of weights and cache, by number of sequences; None if it is unknown.

    The estimate omits scales of quantized weights (about 1%), activations and the program itself.
    Layers with a sliding window cache only the tokens in it. Without torch, the windows in a
    ``config.json`` are not known, and every layer counts as if it cached every token.
    """
    if not parameters or not shape.cache_width:
        return None
    embedding = shape.vocab_size * shape.width
    if precision == "native":
        if file_bytes is None:
            return None
        weights = float(file_bytes)
    else:
        per_weight = _BYTES_PER_WEIGHT[precision]
        weights = per_weight * parameters
        if per_weight == 1:  # a row of the embedding is read in bfloat16, and a tied head is a copy
            weights += (2 if shape.is_tied else 1) * embedding
        if precision == "int4":
            weights -= (1 - _INT4_FFN_BYTES) * shape.ffn_weights
    per_sequence = _cached_numbers(shape) * (4 if precision == "float32" else 2)
    return {n: round(weights + n * per_sequence) for n in NUM_SEQUENCES}


def _cached_numbers(shape: Shape) -> float:
    """Return how many numbers the cache has for a sequence of ``SEQUENCE_TOKENS`` tokens."""
    if not any(shape.windows):
        return shape.cache_width * SEQUENCE_TOKENS
    from archon.engine.cache.kv_cache import BLOCK_SIZE
    from archon.engine.cache.layout import CacheLayout

    layout = CacheLayout.of(shape.windows)
    num_blocks = sum(group.size * group.max_entries(SEQUENCE_TOKENS) for group in layout.groups)
    width = shape.cache_width / len(shape.windows)  # of a layer
    return num_blocks * BLOCK_SIZE * layout.num_rows * width


def weights_memory_bytes(
    parameters: int | None, precision: Precision, file_bytes: int | None
) -> int | None:
    """Estimate the memory of the weights from below, if the shape of the model is unknown."""
    if precision == "native":
        return file_bytes
    if not parameters:
        return None
    per_weight = _INT4_FFN_BYTES if precision == "int4" else _BYTES_PER_WEIGHT[precision]
    return round(per_weight * parameters)
