"""Calls between node and custodian.

Frames, TLS, protobuf; imports shared only.
"""
