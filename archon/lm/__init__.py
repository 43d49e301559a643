"""Language models: the seam, what satisfies it, and what wraps it.

``RemoteLM`` (``archon.lm.remote``) and the local engine (``archon.lm.local``) are imported where a
card asks for them: they bring httpx and torch.
"""

from archon.lm.base import CAPABILITIES, LM, LM_CAPABILITIES, check_request, close
from archon.lm.factory import capabilities, open_lm
from archon.lm.ledger import Ledger
from archon.lm.limit import Limited
from archon.lm.reward import RewardLM, RewardModel, ScriptedRewardModel
from archon.lm.scripted.lm import ScriptedLM

__all__ = [
    "CAPABILITIES",
    "LM",
    "LM_CAPABILITIES",
    "Ledger",
    "Limited",
    "RewardLM",
    "RewardModel",
    "ScriptedLM",
    "ScriptedRewardModel",
    "capabilities",
    "check_request",
    "close",
    "open_lm",
]
