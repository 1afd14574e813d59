"""An institution's view of its own state.

Checks, overview, reports; imports approvals and below.
"""
