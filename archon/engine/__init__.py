"""The engine: token ids in, token ids and log-probabilities out. No prompts, no JSON, no text.

Read it in this order:

1. the files: ``files`` (GGUF, folders of safetensors), then of ``model``: ``config`` and
   ``families`` (the shape of a decoder, and the traits of its family), ``weights``;
2. the transformer, in ``model``: ``linear``, ``rope``, ``attention``, ``decoder``, and
   ``step_input`` (from spans to its tensors);
3. the cache: ``cache`` (``kv_cache``, ``block_pool``, ``prefix_tree``);
4. one step, *schedule, compute, postprocess*: ``span``, ``scheduling`` (``sequence``,
   ``block_manager``, ``scheduler``), ``decoder_protocol``, ``sampling`` (``request``, ``sampler``),
   ``engine``, and ``worker``, the thread that steps; ``loading`` makes an engine from a file;
5. besides: constraints and beam search in ``sampling``, ``choices`` and ``hidden_state`` in
   ``scheduling``, ``lora``, ``outlier_rotation`` and ``reward_head`` in ``model``, ``perplexity``.

Faster decoders: ``kernels`` (int8 and int4 on a CPU, in compiled code), ``cuda`` (replayed steps on
a GPU). Other transformers: ``encoders`` (BERT and T5).

Imports go one way, from the top to the bottom of this list; an import contract checks it::

    loading, worker
    engine, perplexity, encoders
    decoder_protocol, kernels, cuda
    model, scheduling
    cache, sampling, span, files, process

Shapes are written as suffixes, under one legend:

    B sequences or groups   T tokens of one sequence   N tokens of one step, all sequences
    H query heads           G key-value heads          D width of a head
    E model width           F feed-forward width       V vocabulary
    I, O inputs and outputs of a linear layer          R query rows that share a group of keys
"""
