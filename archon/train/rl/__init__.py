"""Reinforcement learning: a decoder learns from rewards for its own replies.

Each step samples replies with the engine (``rollouts``), computes their rewards (``rewards``) and
advantages (``advantages``, for PPO with a ``value_head``), and makes the better replies likelier
(``policy_loss``). ``learner`` does the last two on token ids. ``setup`` opens what a configuration
names (``tasks`` are its questions), and ``archon.train.objectives.reinforcement`` takes the steps.
"""
