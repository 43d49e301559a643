"""Language models: the interface, its implementations, and lazy opening.

Read ``base`` (the interface), ``factory`` and ``lazy`` (a card becomes a model), then the
implementations: ``openai`` (servers), ``local`` (the engine), ``scripted`` (no weights). ``pool``
stores samples on disk. ``openai`` and ``local`` are imported where a card needs them: they bring
httpx and torch.
"""

from archon.lm.base import CAPABILITIES, LM, LM_CAPABILITIES, check_request, close
from archon.lm.factory import capabilities, open_lm
from archon.lm.reward import RewardLM, RewardModel, ScriptedRewardModel
from archon.lm.scripted.lm import ScriptedLM

__all__ = [
    "CAPABILITIES",
    "LM",
    "LM_CAPABILITIES",
    "RewardLM",
    "RewardModel",
    "ScriptedLM",
    "ScriptedRewardModel",
    "capabilities",
    "check_request",
    "close",
    "open_lm",
]
