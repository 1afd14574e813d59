"""An institution's view of its own state.

Checks, overview, reports; imports approvals and below. Its notices are a process that opens
no record (a contract of import-linter).
"""
