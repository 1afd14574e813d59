"""What adds up the institutions of a simulation, where it is no protocol of real custodians?

Imports sums, partitions and records of client, the outcome of server, and shared; no other
simulations.
"""
