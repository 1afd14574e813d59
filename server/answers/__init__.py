"""Answers to shared questions from their sums.

Imports studies, run and below.
"""
