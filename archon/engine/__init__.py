"""The engine: token ids in, token ids and log-probabilities out. No prompts, no JSON, no text.

Read it in this order: ``gguf``, ``dequantize`` and ``folder`` (the files), ``config`` and
``weights`` (what a decoder needs of them), ``span`` (what it is asked), ``linear``, ``attention``,
``plan`` and ``decoder`` (the transformer), ``kv_cache``, ``block_pool``, ``prefix_tree`` and
``block_manager`` (what is remembered, and where), ``sequence``, ``scheduler``, ``sampler``,
``beam_search`` and ``engine`` (one step: schedule, compute, postprocess), ``worker`` (the thread
that steps). On a GPU, ``padding`` and ``cuda_graphs`` replay steps; ``cuda_attention`` attends.

Shapes are written as suffixes, under one legend:

    B sequences or groups   T tokens of one sequence   N tokens of one step, all sequences
    H query heads           G key-value heads          D width of a head
    E model width           F feed-forward width       V vocabulary
    I, O inputs and outputs of a linear layer          R query rows that share a group of keys
"""
