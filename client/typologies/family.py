"""Families of evidence, as settings name them."""

from enum import StrEnum


class Family(StrEnum):
    """Families of evidence: one indicator alone says little, two of one family not much more."""

    FLOW = "FLOW"
    TIME = "TIME"
    TRAVEL = "TRAVEL"
    LIVING = "LIVING"
    ALT_PAY = "ALT_PAY"
    CONTROL = "CONTROL"
    LABOUR = "LABOUR"
    PROFILE = "PROFILE"
