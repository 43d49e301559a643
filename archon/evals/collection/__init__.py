"""A folder of runs as a collection: find, list, compare and delete runs, and show them on a page."""
