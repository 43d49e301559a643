"""The decoder: configuration, weights, layers, adapters."""
