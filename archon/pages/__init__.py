"""Parts that the HTML pages of runs, studies and the server have in common."""
