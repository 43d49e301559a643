"""The paged KV cache and its tree of cached prefixes."""
