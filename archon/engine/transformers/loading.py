"""Loading of a model folder or a GGUF file by the transformers library."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from archon.engine.loading import choose_device
from archon.engine.model.precision import Precision
from archon.engine.process import claim_process
from archon.engine.transformers.decoder import TransformersConfig, TransformersDecoder
from archon.engine.transformers.engine import TransformersEngine
from archon.errors import ModelFileError, require

_LENGTHS = (
    "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length",
    "seq_length", "context_length",
)  # fmt: skip
"""Names of the context length in configurations."""
_UNLIMITED = 1 << 20
"""Context length of models that name none, such as state-space models."""
_MAX_NAMED = 3
_MAX_REASON = 500


def load_transformers_engine(
    path: Path,
    precision: Precision,
    *,
    model_id: str = "",
    device: str | None = None,
    context_length: int | None = None,
) -> TransformersEngine:
    """Load a model into an engine that computes with the transformers library.

    Parameters
    ----------
    path
        A model folder, or a GGUF file of an architecture that the library reads.
    precision
        ``float32`` or ``bf16``. Any other precision is replaced by bf16, or by float32 on a CPU
        without instructions for bf16.
    model_id
        Digest of the weights, which is part of every sample's key.
    device
        ``cpu`` or ``cuda``; by default CUDA if it is available.
    context_length
        Maximum number of tokens of prompt and completion together; by default the model's.

    Raises
    ------
    MissingExtraError
        The library is not installed.
    ModelFileError
        The library cannot load the model, or loads only a part of it.
    EngineError
        The device is not available, or this process was forked from one that runs an engine.
    """
    claim_process()
    library: Any = require("transformers", "engine")
    where = choose_device(device)
    used = _used_precision(precision, where)
    model = _load_model(library, path, used).to(where)
    config = _config_of(model)
    _check_positions(model, context_length or config.context_length, path)
    try:
        decoder = TransformersDecoder(model, config, used, library.__version__)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None
    return TransformersEngine(decoder, model_id, context_length=context_length)


def _used_precision(precision: Precision, device: torch.device) -> Precision:
    if precision in ("float32", "bf16"):
        return precision
    is_fast = device.type == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bf16" if is_fast else "float32"


def _load_model(library: Any, path: Path, precision: Precision) -> Any:
    dtype = {"float32": torch.float32, "bf16": torch.bfloat16}[precision]
    if path.is_dir():
        source: dict[str, Any] = {"pretrained_model_name_or_path": str(path)}
    else:
        require("gguf", "engine")
        source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        with _no_progress_bars(library):
            model, loading = library.AutoModelForCausalLM.from_pretrained(
                **source,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as error:  # the library raises errors of many types
        raise ModelFileError(f"{path}: {_failure(library, error, path)}") from error
    _check_complete(loading, path)
    return model.eval().requires_grad_(False)


def _failure(library: Any, error: Exception, path: Path) -> str:
    reason = " ".join(str(error).split())[:_MAX_REASON] or type(error).__name__
    text = f"transformers {library.__version__} cannot load it: {reason}"
    if "trust_remote_code" in reason:
        return (
            "the model needs Python code from its folder, which Archon never runs; serve it with a "
            "server that does, such as vLLM, and name the server in a card"
        )
    if not path.is_dir():
        text += (
            ". Use the folder of safetensors from which the file was made, or serve the file with "
            "llama-server and name the server in a card"
        )
    return text


def _check_complete(loading: dict[str, Any], path: Path) -> None:
    """Reject a model with parameters that are not in its files: the library makes them random."""
    mismatched = [name for name, *_ in loading.get("mismatched_keys", ())]
    missing = sorted({*loading.get("missing_keys", ()), *mismatched})
    if missing:
        names = ", ".join(map(repr, missing[:_MAX_NAMED])) + (", …" * (len(missing) > _MAX_NAMED))
        raise ModelFileError(
            f"{path}: the files lack {len(missing)} parameters of a causal language model, or have "
            f"them in another shape: {names}"
        )


def _config_of(model: Any) -> TransformersConfig:
    config = model.config.get_text_config(decoder=True)
    lengths = [value for name in _LENGTHS if isinstance(value := getattr(config, name, None), int)]
    vocab_size, width = model.get_input_embeddings().weight.shape
    return TransformersConfig(
        family=str(model.config.model_type),
        vocab_size=vocab_size,
        width=width,
        context_length=next((value for value in lengths if value > 0), _UNLIMITED),
    )


def _check_positions(model: Any, context_length: int, path: Path) -> None:
    """Reject a context that is longer than a table of learned positions."""
    for name, module in model.named_modules():
        is_positions = "pos" in name.lower() or name.endswith("wpe")
        if is_positions and isinstance(module, torch.nn.Embedding):
            num_positions = module.num_embeddings
            if num_positions < context_length:
                raise ModelFileError(
                    f"{path}: the model has {num_positions} learned positions ({name}); a context "
                    f"of {context_length} tokens is not possible"
                )


@contextmanager
def _no_progress_bars(library: Any) -> Iterator[None]:
    """Hide the library's progress bars, which would mix with the output of commands."""
    logging = sys.modules[f"{library.__name__}.utils.logging"]
    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()
