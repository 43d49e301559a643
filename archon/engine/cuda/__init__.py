"""Decode steps on a GPU: padded to few shapes (``padding``), recorded and replayed (``graphs``).

No GPU has run it yet: ``docs/gpu.md``.
"""
