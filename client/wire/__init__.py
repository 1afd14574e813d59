"""Calls between node and custodian, and of commands to a custodian.

Frames, TLS, protobuf, the lines of its administration; imports shared only.
"""
