"""The CPU's kernels: one step of an int8 or int4 decoder in one call of compiled code.

``simd.h`` (the instructions), ``product.h`` (products in int8 and int4), ``attention.h`` (softmax
along the blocks of the cache), ``step.cpp`` (all layers of a step) and ``sample.cpp`` (drawing
tokens) are compiled at first use by ``build``, where there is a C++ compiler and a CPU with
AVX-512 VNNI; elsewhere torch serves.
"""

from archon.engine.kernels.build import load_kernels

__all__ = ["load_kernels"]
