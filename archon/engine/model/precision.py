"""The names of the precisions, which ``linear`` explains; this module does not import torch."""

from __future__ import annotations

from typing import Literal

Precision = Literal["float32", "bf16", "int8", "int4", "native"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bf16", "int8", "int4", "native")
