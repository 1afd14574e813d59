"""A finished model's file and its card.

Imports models, evaluation, protocol, pages and below.
"""
