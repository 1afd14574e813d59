"""What an institution sees of its own state.

Checks, overview, reports; imports approvals and below.
"""
