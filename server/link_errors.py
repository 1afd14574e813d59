"""Errors of a link or of its other end, made fit for a terminal."""

from typing import Final

import httpx

LONGEST_REASON: Final = 300  # characters


def reason_of(error: Exception) -> str:
    """Return what an error of a link says: one line, printable ASCII, of bounded length."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, httpx.HTTPStatusError):
        text = f"status {error.response.status_code}: {error.response.text}"
    shown = "".join(sign if sign.isascii() and sign.isprintable() else " " for sign in text)
    return " ".join(shown.split())[:LONGEST_REASON]
