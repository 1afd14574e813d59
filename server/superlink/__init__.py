"""Flower's SuperLink behind our gate.

Imports home and shared; the one place of Flower's private API here.
"""
