"""The types of nodes: one module per type, named for it; ``registry`` collects them."""
