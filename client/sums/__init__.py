"""Bounded sums over one institution's units: what a release may be made of."""

from fieldfare.client.sums.study_sums import StudySums

__all__ = ["StudySums"]
