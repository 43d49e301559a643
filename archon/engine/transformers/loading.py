"""Loading of a model folder or a GGUF file by the transformers library."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from archon.engine.loading import choose_device
from archon.engine.model.precision import Precision
from archon.engine.process import claim_process
from archon.engine.transformers.adapter import merged_adapter
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
_AUTO_CLASSES = (
    "AutoModelForCausalLM", "AutoModelForImageTextToText", "AutoModelForMultimodalLM",
)  # fmt: skip
"""Classes that load a model which writes text, the first that knows the model's configuration. The
last two also read images or sound, and compute texts without them."""
_PACKAGES = {"torchao": "torchao", "hqq": "hqq", "quark": "amd-quark"}
"""``quant_method`` → package that the library needs, where its own error does not name it."""
_MAX_NAMED = 3
_MAX_REASON = 500


def load_transformers_engine(
    path: Path,
    precision: Precision,
    *,
    model_id: str = "",
    device: str | None = None,
    context_length: int | None = None,
    adapter: Path | None = None,
    trust_remote_code: bool = False,
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
    adapter
        Folder of an adapter in peft's format, which is merged into the weights. ``model_id`` must
        then identify both.
    trust_remote_code
        Whether Python code in the folder may be run. It can do anything that this process can.

    Raises
    ------
    MissingExtraError
        The library, or for an adapter peft, is not installed.
    ModelFileError
        The library cannot load the model, or loads only a part of it.
    EngineError
        The device is not available, or this process was forked from one that runs an engine.
    """
    claim_process()
    library: Any = require("transformers", "engine")
    where = choose_device(device)
    used = _used_precision(precision, where)
    model = _load_model(library, path, used, where, trust_remote_code)
    if adapter is not None:
        model = merged_adapter(model, adapter)
    config = _config_of(model)
    _check_positions(model, context_length or config.context_length, path)
    try:
        decoder = TransformersDecoder(model, config, used, library.__version__)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None
    except Exception as error:  # the library raises errors of many types
        reason = _reason(error)
        raise ModelFileError(
            f"{path}: transformers {library.__version__} cannot compute a text with it: {reason}"
        ) from error
    return TransformersEngine(decoder, model_id, context_length=context_length)


def _used_precision(precision: Precision, device: torch.device) -> Precision:
    if precision in ("float32", "bf16"):
        return precision
    is_fast = device.type == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bf16" if is_fast else "float32"


def _load_model(
    library: Any, path: Path, precision: Precision, device: torch.device, trust_remote_code: bool
) -> Any:
    options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
    if path.is_dir():
        options["pretrained_model_name_or_path"] = str(path)
    else:
        require("gguf", "engine")
        options |= {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    method = ""
    try:
        kind = library.AutoModelForCausalLM
        if path.is_dir():
            config = library.AutoConfig.from_pretrained(
                path, local_files_only=True, trust_remote_code=trust_remote_code
            )
            kind = _auto_class(library, config)
            method = _quant_method(library, config)
        if method:
            options["device_map"] = {"": str(device)}  # quantized weights may not be moved later
        with _no_progress_bars(library):
            model, loading = kind.from_pretrained(
                **options,
                dtype={"float32": torch.float32, "bf16": torch.bfloat16}[precision],
                trust_remote_code=trust_remote_code,
                output_loading_info=True,
            )
    except Exception as error:  # the library raises errors of many types
        raise ModelFileError(f"{path}: {_failure(library, error, path, method)}") from error
    _check_complete(loading, path)
    if not method:
        model = model.to(device)
    return model.eval().requires_grad_(False)


def _auto_class(library: Any, config: Any) -> Any:
    """Return the class that loads a model with this configuration."""
    classes = [getattr(library, name) for name in _AUTO_CLASSES if hasattr(library, name)]
    custom = getattr(config, "auto_map", None) or {}
    for known in classes:
        if type(config) in known._model_mapping or known.__name__ in custom:
            return known
    return classes[0]


def _quant_method(library: Any, config: Any) -> str:
    """Return the method that has quantized the weights; "" if they are not quantized.

    Raises
    ------
    ValueError
        The library does not know it: it would load the numbers without their scales.
    """
    settings = getattr(config, "quantization_config", None)
    if not isinstance(settings, dict) or not settings:
        return ""
    quantizers = importlib.import_module(f"{library.__name__}.quantizers.auto")
    if not quantizers.AutoHfQuantizer.supports_quant_method(settings):
        raise ValueError(f"the quantization {settings.get('quant_method')!r} is unknown")
    return str(settings.get("quant_method"))


def _failure(library: Any, error: Exception, path: Path, method: str) -> str:
    reason = _reason(error)
    text = f"transformers {library.__version__} cannot load it: {reason}"
    if "trust_remote_code" in reason:
        return (
            "the model needs Python code from its folder, which can do anything that you can, so "
            "Archon does not run it. If you have read the code and trust it, write a card for the "
            'folder with "engine": "transformers" and "trust_remote_code": true. Otherwise serve '
            "the model with a server such as vLLM, and name the server in a card"
        )
    if isinstance(error, ImportError) and method in _PACKAGES and "pip install" not in reason:
        return f"{text}. Install the package: pip install {_PACKAGES[method]}"
    if not path.is_dir():
        text += (
            ". Use the folder of safetensors from which the file was made, or serve the file with "
            "llama-server and name the server in a card"
        )
    return text


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:_MAX_REASON] or type(error).__name__


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
    # An encoder for images has positions, too, but no tokens.
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
    for name, module in decoder.named_modules():
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
