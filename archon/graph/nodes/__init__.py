"""Node types. Each type has a module of the same name; ``registry`` collects them."""
