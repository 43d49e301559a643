"""An app of one's own around an architecture: uvicorn --app-dir examples fastapi_app:app.

The environment variable SOLVER names the model. For a server that speaks OpenAI's protocol there is
``archon serve``.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator

from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

import archon

app = FastAPI()
architecture = archon.load(
    "self-consistency", models={"solver": os.environ.get("SOLVER", "qwen2.5-coder-0.5b")}
)


class Question(BaseModel):
    text: str = Field(min_length=1, max_length=2000)


class Solution(BaseModel):
    text: str
    value: str | None
    cost_tokens: int


@app.post("/solve")
async def solve(question: Question) -> Solution:
    try:
        answer = await architecture.arun(question.text)
    except archon.ArchonError as error:
        raise HTTPException(502, "no answer could be had") from error
    return Solution(text=answer.text, value=answer.value, cost_tokens=answer.cost_tokens)


@app.post("/watch")
async def watch(question: Question) -> StreamingResponse:
    """A line of JSON for each node that is done, and one for the answer."""

    async def lines() -> AsyncIterator[str]:
        async for event in architecture.astream(question.text):
            match event:
                case archon.NodeFinished(node=node, candidates=candidates):
                    yield json.dumps({"node": node, "candidates": candidates}) + "\n"
                case archon.Answer(value=value):
                    yield json.dumps({"value": value}) + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")
