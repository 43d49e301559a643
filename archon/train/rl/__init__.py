"""Reinforcement learning: a decoder learns from rewards for its own replies.

Each step has four parts:

1. ``rollouts`` samples replies with the engine;
2. ``rewards`` computes a reward for each reply;
3. ``advantages`` computes how much better than expected each token was (PPO: with ``value_head``);
4. ``policy_loss`` is the loss whose gradient makes better replies likelier.

``learner`` does the last two for token ids. ``setup`` loads the model, the questions (``tasks``)
and the reward of a configuration, and ``archon.train.objectives.reinforcement`` takes the steps.
"""
