"""A tiny random model in the local engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny_models import tiny_vocabulary

from archon.lm.local import open_local
from archon.lm.local.lm import LocalLM
from archon.spec.model import LocalCard
from archon.types import Message, Request, SamplingParams

QUESTION = Request((Message("user", "the answer"),), sampling=SamplingParams(0.9, max_tokens=20))
STOP_ID = tiny_vocabulary().tokens.index("<|im_end|>")


def open_tiny(path: Path, **card: Any) -> LocalLM:
    fields = {"name": "tiny", "backend": "local", "sources": [{"path": str(path)}]}
    return open_local(LocalCard.model_validate(fields | {"precision": "float32"} | card))
