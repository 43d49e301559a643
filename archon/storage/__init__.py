"""Storage on disk: atomic writes, file locks, differences between data, and folders of runs."""
