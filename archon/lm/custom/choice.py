"""Make a language model of what a program passes: a function, an object, a client, a pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from archon.errors import UsageError
from archon.lm.base import LM
from archon.lm.custom.function import FunctionLM
from archon.lm.custom.pipeline import PipelineLM, is_pipeline
from archon.lm.custom.sdk_client import ChatClient, ClientLM, is_chat_client
from archon.lm.reward import RewardLM, RewardModel


@runtime_checkable
class Generates(Protocol):
    """An object with a method ``generate``, which gets a request and returns texts."""

    @property
    def generate(self) -> Callable[..., Any]: ...


CustomModel = LM | RewardModel | Generates | ChatClient | Callable[..., Any]
"""A model that is passed as an object: an LM, a reward model, an object with ``generate``, a client
with ``chat.completions``, or a function, which transformers pipelines are too."""


def custom_lm(model: CustomModel, name: str | None = None) -> LM:
    """Return the language model of an object.

    An object that is an ``LM`` is returned unchanged.

    Parameters
    ----------
    name
        The name of the model. A client sends it to its server; others show it in errors.

    Raises
    ------
    UsageError
        The object is none of the kinds that ``CustomModel`` lists.
    """
    if isinstance(model, type):
        raise UsageError(f"{model.__name__} is a class; pass an instance of it")
    if isinstance(model, LM):
        return model
    if isinstance(model, RewardModel):
        return RewardLM(model)
    if is_chat_client(model):
        return ClientLM(model, name)  # type: ignore[arg-type]
    if is_pipeline(model):
        return PipelineLM(model, name)
    if isinstance(model, Generates) and callable(model.generate):
        return FunctionLM(model.generate, name or type(model).__name__, first="request")
    if callable(model):
        return FunctionLM(model, name)
    raise UsageError(
        f"{type(model).__name__} is no model; pass the name of one, a function of messages, an "
        "object with generate, a client with chat.completions, or a text-generation pipeline"
    )
