"""Mark completions whose numbers of tokens are unknown.

An unknown count is recorded as 0. So that no sum of such counts is taken for the true cost, the
completion, the answer, the record and the report say that counts are missing.
"""

from __future__ import annotations

from archon.types import Completion

UNKNOWN_TOKENS = "the model reports no token counts; missing counts are recorded as 0"
"""Note on a completion of a custom model that reports no token counts."""
INCOMPLETE_COST = "token counts are missing, so the cost and the usage are too low"
"""Note on an answer if a completion of its nodes lacks token counts."""


def lacks_token_counts(completion: Completion) -> bool:
    """Return True if a completion has a text, but no count of its tokens."""
    is_text = completion.choice_logprobs is None and completion.error is None
    has_text = bool(completion.text or completion.reasoning)
    return is_text and has_text and not completion.usage.completion_tokens
