"""A self-contained HTML page that shows one run or compares several."""
