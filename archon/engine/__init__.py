"""The engine: token ids in, token ids and log-probabilities out. No prompts, no JSON, no text.

Read it in this order: ``gguf``, ``dequantize`` and ``folder`` (the files), ``config`` and
``weights`` (what a decoder needs of them), ``linear``, ``attention`` and ``decoder`` (the
transformer), ``kv_cache`` and ``prefix_tree`` (what it remembers), ``sequence``, ``scheduler``,
``sampler`` and ``engine`` (one step: schedule, run, postprocess), ``worker`` (the thread that
steps). On a GPU, ``padding`` and ``cuda_graphs`` replay steps, and ``cuda_attention`` attends.

Shapes are written as suffixes, under one legend:

    B sequences or groups   T tokens of one sequence   N tokens of one step, all sequences
    H query heads           G key-value heads          D width of a head
    E model width           F feed-forward width       V vocabulary
    I, O inputs and outputs of a linear layer          R query rows that share a group of keys
"""
