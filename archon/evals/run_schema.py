"""What readers of a run rely on in its ``run.json``, checked as it is read."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from archon.spec.messages import json_path


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class _Architecture(_Part):
    name: str
    nodes: dict[str, Any]


class _Benchmark(_Part):
    name: str
    score: str
    answer: str = "number"


class _Named(_Part):
    name: str


class _Nested(_Part):
    architecture: _Named


class _Specification(_Part):
    architecture: _Architecture
    benchmark: _Benchmark
    models: dict[str, _Named | _Nested | None]
    seed: int


class _Items(_Part):
    split: str
    count: int = Field(ge=0)


class _Run(_Part):
    specification: _Specification
    items: _Items
    epochs: int = Field(ge=1)
    limit: int | None


def fault(data: object) -> str | None:
    """Place and reason of the first thing that is wrong; None where nothing is."""
    try:
        _Run.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{json_path(first['loc'])}: {first['msg'].lower()}"
    return None
