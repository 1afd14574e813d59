"""What others offer, over the same records: for comparison, and in simulation only.

Imports the federation and below, an institution's own models and its scoring, and shared.
"""
