"""Tiny GGUF files of random weights, laid out as llama.cpp's converters lay them out.

The vocabulary is byte-level BPE: 256 bytes, a few merges, control tokens, and unused padding. One
channel of the residual stream, which no layer writes to, makes printable ASCII far likelier than
every other token, so that a model of random weights still writes text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as TensorType

Array = npt.NDArray[np.float32]

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are tiny.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
USER_TOKENS = ("<tool>", "</tool>")
_WORDS = ("the", "and", "ing", " the", " is", " answer", "12", "\n\n", "é")
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
_NORMS = {"olmo2": ("post_attention_norm", "post_ffw_norm")}
"""Norms of a layer, where a family has others than most."""
_LOUDNESS = 6.0
"""Value of the channel that tells printable tokens from others."""


@dataclass(frozen=True)
class Vocabulary:
    """Tokens and their types, and the merges that make the longer ones."""

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class TinyModel:
    """The shape of a tiny model, and what is special about its file."""

    family: str = "llama"
    width: int = 32
    ffn_width: int = 64
    num_layers: int = 2
    num_heads: int = 4
    num_kv_heads: int = 2
    own_head_width: int | None = None
    """Where it is not the width shared out among the heads."""
    context_length: int = 512
    tied: bool | None = None
    """Whether the embedding is the head as well; by default not in qwen2."""
    biased: bool | None = None
    """Whether q, k and v have biases; by default so in qwen2 alone."""
    pre: str = "qwen2"
    chat_template: str | None = CHAT_TEMPLATE
    seed: int = 0
    types: Mapping[str, TensorType] = field(default_factory=dict)
    """End of a tensor's name → the type that it is stored in; float32 by default."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Keys that stand in place of the usual ones; None leaves a key out."""
    without: tuple[str, ...] = ()
    """Tensors that the file lacks."""
    extra: Mapping[str, Array] = field(default_factory=dict)
    """Tensors that the file has besides."""

    @property
    def head_width(self) -> int:
        return self.own_head_width or self.width // self.num_heads


def bytes_to_letters() -> dict[int, str]:
    """GPT-2's printable letter for every byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    printable += range(ord("®"), ord("ÿ") + 1)
    letters = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in letters)
    return letters | {byte: chr(256 + i) for i, byte in enumerate(others)}


def tiny_vocabulary(size: int | None = None) -> Vocabulary:
    """Bytes, merges for a few words, control and user-defined tokens, padding."""
    letters = bytes_to_letters()
    tokens, merges = list(letters.values()), []
    for word in _WORDS:
        spelt = [letters[byte] for byte in word.encode()]
        left = spelt[0]
        for right in spelt[1:]:
            if left + right not in tokens:
                tokens.append(left + right)
                merges.append(f"{left} {right}")
            left += right
    types = [_NORMAL] * len(tokens)
    tokens += [*CONTROL_TOKENS, *USER_TOKENS]
    types += [_CONTROL] * len(CONTROL_TOKENS) + [_USER_DEFINED] * len(USER_TOKENS)
    for i in range((size or -(-len(tokens) // 8) * 8) - len(tokens)):
        tokens.append(f"[PAD{i}]")
        types.append(_UNUSED)
    return Vocabulary(tuple(tokens), tuple(types), tuple(merges))


def tiny_weights(model: TinyModel) -> dict[str, Array]:
    """Random float32 parameters by GGUF name, rows of q and k in Hugging Face's order."""
    rng = np.random.default_rng(model.seed)
    vocabulary = tiny_vocabulary()

    def normal(*shape: int, size: float = 1.0) -> Array:
        return (size * rng.standard_normal(shape)).astype(np.float32)

    E, F, V = model.width, model.ffn_width, len(vocabulary)
    q_width, kv_width = (n * model.head_width for n in (model.num_heads, model.num_kv_heads))
    tensors = {"token_embd.weight": normal(V, E, size=0.5)}
    tensors["output_norm.weight"] = 1 + normal(E, size=0.1)
    if not _tied(model):
        tensors["output.weight"] = normal(V, E, size=0.5)
    for layer in range(model.num_layers):
        shapes = {
            "attn_q": (q_width, E), "attn_k": (kv_width, E), "attn_v": (kv_width, E),
            "attn_output": (E, q_width), "ffn_gate": (F, E), "ffn_up": (F, E), "ffn_down": (E, F),
        }  # fmt: skip
        for name, (outputs, inputs) in shapes.items():
            tensors[f"blk.{layer}.{name}.weight"] = normal(outputs, inputs, size=inputs**-0.5)
        for name in _NORMS.get(model.family, ("attn_norm", "ffn_norm")):
            tensors[f"blk.{layer}.{name}.weight"] = 1 + normal(E, size=0.1)
        for name, size in _qk_norms(model).items():
            tensors[f"blk.{layer}.{name}.weight"] = 1 + normal(size, size=0.5)
        for name in ("attn_q", "attn_k", "attn_v") if _biased(model) else ():
            tensors[f"blk.{layer}.{name}.bias"] = normal(len(tensors[f"blk.{layer}.{name}.weight"]))
        for name in ("attn_output", "ffn_down"):
            tensors[f"blk.{layer}.{name}.weight"][0] = 0
    _make_printable_likely(tensors, vocabulary)
    return tensors


def _qk_norms(model: TinyModel) -> dict[str, int]:
    """Norms of queries and keys, and their sizes."""
    heads = {"attn_q_norm": model.num_heads, "attn_k_norm": model.num_kv_heads}
    match model.family:
        case "qwen3":
            return dict.fromkeys(heads, model.head_width)
        case "olmo2":
            return {name: count * model.head_width for name, count in heads.items()}
        case _:
            return {}


def write_gguf(path: Path, model: TinyModel) -> None:
    """Write a model's file."""
    writer = gguf.GGUFWriter(path, model.family)
    for key, value in (_metadata(model) | dict(model.metadata)).items():
        _add(writer, key, value)
    for name, weight in (tiny_weights(model) | dict(model.extra)).items():
        if name in model.without:
            continue
        if model.family == "llama" and name.split(".")[-2] in ("attn_q", "attn_k"):
            weight = _interleave(weight, model.head_width)
        kind = next((t for end, t in model.types.items() if name.endswith(end)), TensorType.F32)
        writer.add_tensor(name, _stored(weight, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_gguf_file(
    path: Path, family: str, keys: Mapping[str, Any], tensors: Mapping[str, Array]
) -> None:
    """Write the file of a model of another shape, with its keys without the family's prefix."""
    writer = gguf.GGUFWriter(path, family)
    shape = {f"{family}.{key}": value for key, value in keys.items()}
    for key, value in (shape | _tokenizer_keys("gpt-2", CHAT_TEMPLATE)).items():
        _add(writer, key, value)
    for name, weight in tensors.items():
        writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def random_blocks(kind: TensorType, count: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Random bytes of whole blocks, (count, bytes of a block), whose half-precision scales are
    finite and small."""
    _, num_bytes = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (count, num_bytes), dtype=np.uint8)
    scales = {"Q4_1": [0, 2], "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
    for at in scales.get(kind.name, [0]):
        size = rng.uniform(-1e-3, 1e-3, count).astype(np.float16)
        blocks[:, at : at + 2] = size.view(np.uint8).reshape(count, 2)
    return blocks


def _tied(model: TinyModel) -> bool:
    return model.family != "qwen2" if model.tied is None else model.tied


def _biased(model: TinyModel) -> bool:
    return model.family == "qwen2" if model.biased is None else model.biased


def _make_printable_likely(tensors: dict[str, Array], vocabulary: Vocabulary) -> None:
    normal = [
        kind == _NORMAL and all(" " < letter <= "~" or letter in "ĠĊ" for letter in token)
        for token, kind in zip(vocabulary.tokens, vocabulary.types, strict=True)
    ]
    sign = np.where(normal, _LOUDNESS, -_LOUDNESS).astype(np.float32)
    tensors["token_embd.weight"][:, 0] = sign
    if "output.weight" in tensors:
        tensors["token_embd.weight"][:, 0] = _LOUDNESS
        tensors["output.weight"][:, 0] = sign
    tensors["output_norm.weight"][0] = 1


def _interleave(weight: Array, head_width: int) -> Array:
    """Each head's rows (r0, r1, …, i0, i1, …) → (r0, i0, r1, i1, …), as llama.cpp stores them."""
    heads = weight.reshape(-1, 2, head_width // 2, *weight.shape[1:])
    return np.ascontiguousarray(heads.swapaxes(1, 2).reshape(weight.shape))


def _stored(weight: Array, kind: TensorType) -> npt.NDArray[Any]:
    if kind in (TensorType.Q4_K, TensorType.Q5_K, TensorType.Q6_K):
        elements, num_bytes = gguf.GGML_QUANT_SIZES[kind]
        blocks = random_blocks(kind, weight.size // elements, np.random.default_rng(1))
        return blocks.reshape(len(weight), weight.shape[1] // elements * num_bytes)
    return weight if kind == TensorType.F32 else gguf.quants.quantize(weight, kind)


def _metadata(model: TinyModel) -> dict[str, Any]:
    shape = {
        "block_count": model.num_layers,
        "context_length": model.context_length,
        "embedding_length": model.width,
        "feed_forward_length": model.ffn_width,
        "attention.head_count": model.num_heads,
        "attention.head_count_kv": model.num_kv_heads,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": 10_000.0,
    }
    if model.own_head_width:
        shape |= dict.fromkeys(("attention.key_length", "attention.value_length"), model.head_width)
    keys = {f"{model.family}.{key}": value for key, value in shape.items()}
    return keys | _tokenizer_keys(model.pre, model.chat_template)


def _tokenizer_keys(pre: str | None, chat_template: str | None) -> dict[str, Any]:
    vocabulary = tiny_vocabulary()
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": list(vocabulary.tokens),
        "tokenizer.ggml.token_type": list(vocabulary.types),
        "tokenizer.ggml.merges": list(vocabulary.merges),
        "tokenizer.ggml.bos_token_id": vocabulary.tokens.index("<|endoftext|>"),
        "tokenizer.ggml.eos_token_id": vocabulary.tokens.index("<|im_end|>"),
        "tokenizer.chat_template": chat_template,
    }


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    match value:
        case None:
            return
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case _:
            writer.add_array(key, value)
