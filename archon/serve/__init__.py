"""OpenAI-compatible server for language models and architectures. Needs the extra ``serve``."""

from archon.errors import require

require("starlette", "serve")
require("uvicorn", "serve")
