"""Calls between node and custodian.

Frames, sockets, TLS, protobuf; imports shared only.
"""
