"""A run as one page: what it shows, as values; its charts, pure functions to SVG; its writing."""
