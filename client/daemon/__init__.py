"""The custodian's process.

Starts it, reloads it, answers its administrator; imports institution, custodian and below.
"""
