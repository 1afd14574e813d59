"""Sensitivity, noise and the accountant.

Pure but for the sampler's entropy, imports errors and ring only.
"""
