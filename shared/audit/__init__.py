"""The audit of a finished run from its transcript alone.

Imports run, transcript, protocol, finished_model and below.
"""
