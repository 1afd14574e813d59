"""An institution's policy.

What may be approved, and why; imports home and shared.
"""
