"""A folder of runs as a collection: find, list, compare, show and delete runs."""
