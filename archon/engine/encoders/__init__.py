"""Transformers other than the decoder: token ids in, vectors, logits or token ids out.

The engine's decoder (``archon.engine.model.decoder``) reads a text from left to right and is made
for speed; it has no gradients. The models here are ordinary ``torch`` modules in float32: small,
made to be read, and trained by the same code that runs them. Read them in this order:

1. ``config`` (the shapes) and ``weights`` (parameters by the names that files give them);
2. ``attention``: many heads over keys that may lie elsewhere;
3. the encoder of the BERT family: ``encoder``, what is put on top of it (``heads``), and how it
   is pre-trained (``masking``);
4. the encoder–decoder of the T5 family: ``positions`` (relative, by buckets), ``encoder_decoder``,
   and ``decoding``, which draws texts or searches for the likeliest through a cache of keys.

The legend of shapes is the engine's; besides, S are the keys that T queries attend to, and C the
classes of a head.
"""
