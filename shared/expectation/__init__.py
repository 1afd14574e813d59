"""What may be expected of a study, and which settings fit it, by measured trials.

Imports protocol and below.
"""
