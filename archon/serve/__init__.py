"""OpenAI-compatible server for language models and architectures. Needs the ``serve`` extra."""

from archon.errors import require

require("starlette", "serve")
require("uvicorn", "serve")
