"""Extract fenced code blocks, or the program, from a text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from archon.answers import turns

_BLOCK = re.compile(
    r"^[ \t]*+(`{3,}+|~{3,}+)([^`\n]*+)\n(.*?)(?:^[ \t]*+\1[ \t]*+$|\Z)",
    re.MULTILINE | re.DOTALL,
)
_PYTHON = re.compile(r"(?:python|py)[23]?", re.I)
_SOLUTION = re.compile(r"^def solution\b", re.MULTILINE)
_BEGINS_PROGRAM = re.compile(
    r"\s*+(?:python[ \t]*+\n\s*+)?(?=(?:def|class|import|from)[ ]+[A-Za-z_])"
)
_FENCE = re.compile(r"^[ \t]*+(?:`{3,}+|~{3,}+)[ \t]*+$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A non-empty fenced code block, with its position in the text."""

    language: str
    body: str
    start: int
    end: int


def find_blocks(text: str) -> list[Block]:
    """Return the code blocks in the model's turn, in order.

    A block without a closing fence on its own line extends to the end of the text.
    """
    blocks: list[Block] = []
    for found in _BLOCK.finditer(text):
        body = found.group(3).rstrip().removesuffix(found.group(1)).strip("\r\n").rstrip()
        if body:
            blocks.append(Block(found.group(2).strip(), body, found.start(), found.end()))
    end = _turn_end(text, blocks)
    return [block for block in blocks if block.start < end]


def read_code(text: str) -> str | None:
    """Return the last code block or, if there is none, the complete text; None if it is empty."""
    blocks = find_blocks(text)
    return blocks[-1].body if blocks else text.strip() or None


def _turn_end(text: str, blocks: list[Block]) -> int:
    """Return the first end of turn that is after the first block and not inside a block."""
    if not blocks:
        return len(text)
    for end in turns.ends(text):
        inside = any(block.start < end.position < block.end for block in blocks)
        if end.position >= blocks[0].end and not inside:
            return end.position
    return len(text)


def find_program(text: str) -> str | None:
    """Return the program in a text, or None, by the rules of ``read_program``."""
    blocks = find_blocks(text)
    python = [block.body for block in blocks if _PYTHON.fullmatch(block.language)]
    if python:
        return next(filter(_SOLUTION.search, reversed(python)), python[-1])
    begun = _BEGINS_PROGRAM.match(text)
    if begun:
        fence = _FENCE.search(text, begun.end())
        return text[begun.end() : fence.start() if fence else len(text)].rstrip()
    return next((block.body for block in reversed(blocks) if not block.language), None)
