"""Decoders that the ``transformers`` library computes, for families that the engine does not have.

``loading`` opens a folder or a GGUF file (``load_transformers_engine``), and ``decoder`` runs the
model. ``engine`` has the interface of ``archon.engine.engine.Engine``, but computes one request at
a time, with all its samples in one batch (``queue``). ``rows`` forks the model's cache, so that the
samples share the prompt.

The library is imported only when a model needs it.
"""
