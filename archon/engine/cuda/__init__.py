"""Decode steps on a GPU: padded to few shapes (``padding``), recorded and replayed (``graphs``).

No GPU has run this code yet (see ``docs/gpu.md``).
"""
