"""Train models.

Reading order:

1. the loop: ``trainer`` runs an objective; ``loss_objective`` and ``optimization`` take steps that
   minimize a loss; ``folder`` saves and resumes a training run;
2. the model: ``decoder`` (the engine's transformer with gradients), ``lora``, ``mixed_precision``,
   ``base_model`` (opens the model of a card);
3. texts: ``sft_data``, ``packing``, ``splits``; ``objectives.next_token``, which fine-tuning
   (``objectives.sft``) and pretraining (``objectives.pretrain``) share;
4. rewards and preferences: ``reward_data``, ``probe`` and ``platt`` (fit of a reward head),
   ``reward_lora``, ``reward_metrics``, ``objectives.reward``; ``logprobs``, ``objectives.dpo``;
5. reinforcement learning: ``rl``, ``objectives.reinforcement``.

``registry`` lists the kinds of training, ``objectives.classify`` trains encoders, and ``synthetic``
generates data. Tensor names end in the tensor's shape, as in ``archon.engine``; each module lists
the letters that it uses.
"""
