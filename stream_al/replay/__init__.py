"""Replay of recorded streams: sources, the simulated annotator, and what becomes of them."""
