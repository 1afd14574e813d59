"""One run: the releases, their order, and the state that follows from each sum.

The coordinator drives the state, a resumed run folds the kept leaves, custodians follow it and an
audit replays it. Pure: no clock, files, sockets or random numbers. Imports the protocol, the
study, the models and the transcript's records, and is imported by the parties.
"""
