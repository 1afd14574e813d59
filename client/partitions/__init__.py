"""One institution's units cut up by a hash of their ids, and one sum over all the parts.

Imports sums, records, the frames of wire, and shared.
"""
