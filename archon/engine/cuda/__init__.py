"""The GPU's part: steps padded to few shapes (``padding``) and replayed (``graphs``), attention.

No GPU has run it yet: ``docs/gpu.md``.
"""
