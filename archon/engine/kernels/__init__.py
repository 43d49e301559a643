"""CPU kernels: one call of compiled code computes one step of an int8, int4 or native decoder.

Reading order: ``simd.h`` (vectors in AVX-512, AVX2 or NEON), ``rows.h``, ``int8.h``, ``int4.h``,
``blocks.h`` and ``product.h`` (products), ``attention.h`` (softmax over the blocks of the cache),
``step.cpp`` (all layers of a step), ``sample.cpp`` (sampling of tokens). In Python, ``packing`` and
``block_packing`` convert weights to the kernels' layout, ``native`` calls the kernels, and
``build`` compiles them at first use. The kernels need a C++ compiler and a CPU with AVX-512 VNNI,
AVX2 or NEON; without them, the engine computes in torch.
"""
