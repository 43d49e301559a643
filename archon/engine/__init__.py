"""The engine: token ids in, token ids and log-probabilities out. The caller tokenizes text.

Reading order:

1. model files: ``files`` (GGUF, folders of safetensors); then in ``model``: ``config`` (shape of a
   decoder), ``families`` (traits of its family), ``weights``;
2. the transformer, in ``model``: ``linear``, ``rope``, ``attention``, ``decoder``, and
   ``step_input``, which turns spans into the decoder's tensors;
3. the KV cache: ``cache`` (``kv_cache``, ``block_pool``, ``prefix_tree``);
4. one step, *schedule, compute, postprocess*: ``span``, ``scheduling`` (``sequence``,
   ``block_manager``, ``scheduler``), ``decoder_protocol``, ``sampling`` (``request``, ``sampler``),
   ``engine``, and ``worker``, the thread that runs the steps; ``loading`` builds an engine from a
   file;
5. further features: constraints and beam search in ``sampling``, ``choices`` and ``hidden_state``
   in ``scheduling``, ``lora``, ``outlier_rotation`` and ``reward_head`` in ``model``,
   ``perplexity``.

Faster decoders: ``kernels`` (compiled code for int8, int4 and native on a CPU), ``cuda`` (steps
recorded as CUDA graphs). Other transformers: ``encoders`` (BERT and T5).

A module may import from the lines below its own, but not from those above. An import contract
checks this::

    loading, worker
    engine, perplexity, encoders
    decoder_protocol, kernels, cuda
    model, scheduling
    cache, sampling, span, files, process

Names of tensors end in their shape. A letter means the same everywhere::

    B  batch: rows, sequences or groups   T  tokens of one sequence   N  tokens of one step
    E  width of the model                 F  feed-forward width       V  vocabulary
    H  query heads                        G  key-value heads          D  width of a head
    I, O  inputs and outputs of a linear layer                        R  rank, or rows of a group
    M  tokens of a part of attention      L  keys of a group          S  source tokens (encoders)
    K  largest logits, or cache blocks    J, W  blocks of the vocabulary, tokens of such a block
    C  candidates, or classes             1  dimension of size 1

So ``k_NGD`` has the keys of all tokens of a step, of shape (N, G, D).
"""
