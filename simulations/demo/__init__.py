"""The demo and the testbed: five banks in one process, a federation of real processes.

Imports federation, report, world, published, server and client.
"""
