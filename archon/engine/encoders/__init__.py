"""Encoders and encoder–decoders: token ids in; vectors, logits or token ids out.

The engine's decoder (``archon.engine.model.decoder``) is optimised for speed and has no gradients.
The models here are ordinary ``torch`` modules in float32 whose code is meant to be easy to read.
The same code trains and runs them. Reading order:

1. ``config`` (shapes) and ``weights`` (names of parameters in files, loading and saving);
2. ``attention``: multi-head attention;
3. the encoder of the BERT family: ``encoder``, ``heads`` (outputs for several tasks), ``masking``
   (pre-training);
4. the encoder–decoder of the T5 family: ``positions`` (relative, in buckets), ``cache`` (keys and
   values of growing texts), ``encoder_decoder``, ``decoding`` (sampling and beam search).

Shapes follow the legend of ``archon.engine``.
"""
