"""Node types: one module per type, named for it; ``registry`` collects them."""
