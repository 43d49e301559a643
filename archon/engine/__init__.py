"""The engine: token ids in, token ids and log-probabilities out. No prompts, no JSON, no text.

Read it in this order:

1. the files: ``files`` (GGUF, folders of safetensors), ``config`` and ``weights`` (what a decoder
   needs of them), ``loading``;
2. the transformer: ``linear``, ``attention``, ``decoder``, ``plan`` (from spans to its tensors);
3. what it remembers: ``kv_cache``, ``block_pool``, ``prefix_tree``, ``block_manager``;
4. one step, *schedule, compute, postprocess*: ``span``, ``sequence``, ``scheduler``, ``sampler``,
   ``engine``, and ``worker``, the thread that steps;
5. besides: ``constraint``, ``choices``, ``beam_search``, ``hidden_state``, ``adapter``,
   ``reward_head``, ``perplexity``, ``bench``, ``closed_loop``.

In folders of their own: ``quantization`` (weights made ready for rounding), ``kernels`` (steps in
int8 and int4 on a CPU, in compiled code), ``cuda`` (replayed steps on a GPU).

Shapes are written as suffixes, under one legend:

    B sequences or groups   T tokens of one sequence   N tokens of one step, all sequences
    H query heads           G key-value heads          D width of a head
    E model width           F feed-forward width       V vocabulary
    I, O inputs and outputs of a linear layer          R query rows that share a group of keys
"""
