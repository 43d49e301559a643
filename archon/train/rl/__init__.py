"""Reinforcement learning: a decoder learns from rewards for what it says itself.

One step draws replies with our own engine (``rollouts``), has them judged (``rewards``), tells how
much better or worse each was than expected (``advantages``, for PPO with a ``value_head``), and
makes the better ones likelier (``objectives``). ``learner`` does all of that on token ids;
``prepare`` opens what a configuration names, and ``archon.train.objectives.reinforcement`` takes
the steps.
"""
