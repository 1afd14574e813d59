"""Timings that the project promises, measured.

Imports every room of simulations.
"""
