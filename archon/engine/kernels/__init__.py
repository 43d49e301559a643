"""The CPU's kernels: one step of an int8 or int4 decoder in one call of compiled code.

Read them in this order: ``simd.h`` (vectors, in AVX-512 or AVX2), ``rows.h``, ``int8.h``,
``int4.h`` and ``product.h`` (products), ``attention.h`` (softmax along the blocks of the cache),
``step.cpp`` (all layers of a step), ``sample.cpp`` (sampling tokens). On the Python side
``packing`` lays weights out for them, ``native`` calls them, and ``build`` compiles them at first
use if there is a C++ compiler and a CPU with either; otherwise torch computes.
"""
