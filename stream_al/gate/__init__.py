"""Deciding whether to ask: scores, policies, budget, exploration, and the gate that joins them."""
