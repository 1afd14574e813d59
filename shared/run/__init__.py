"""One run: which releases there are, in which order, and what follows from each sum.

The coordinator drives it, a resumed run is a fold of what was kept, custodians follow it and an
audit replays it. Pure: no clock, files, sockets or random numbers. Imports the protocol, the
study, the models and the transcript's records, and is imported by the parties.
"""
