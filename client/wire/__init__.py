"""What node and custodian say to each other.

Frames, sockets, TLS, protobuf; imports shared only.
"""
