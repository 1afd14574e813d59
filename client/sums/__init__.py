"""Bounded sums over one institution's units: the only content of a release."""

from fieldfare.client.sums.study_sums import StudySums

__all__ = ["StudySums"]
