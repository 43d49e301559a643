"""The paged KV cache and its tree of known prefixes."""
