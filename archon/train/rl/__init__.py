"""Reinforcement learning: train a decoder on rewards for its own replies.

Each step has four parts:

1. ``rollouts`` samples replies with the engine;
2. ``rewards`` computes a reward for each reply;
3. ``advantages`` computes how much better than expected each token was (in PPO, ``value_head``
   predicts the expected return);
4. ``policy_loss`` computes the loss, whose gradient makes better replies likelier.

``learner`` combines the last two into a step. ``setup`` loads the model, the questions (``tasks``)
and the reward of a configuration, and ``archon.train.objectives.reinforcement`` takes the steps.
"""
