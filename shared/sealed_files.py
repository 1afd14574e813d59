"""Signed files that somebody sent: read with a limit, before anything in them is believed."""

from pathlib import Path

from fieldfare.shared.errors import UsageError
from fieldfare.shared.messages import MAX_MESSAGE_BYTES


def read_sealed(path: Path) -> bytes:
    """Read a signed file that somebody sent, at most 16 MiB; line ends after it are dropped.

    Raises:
        UsageError: not readable, or too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_MESSAGE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: expected a readable file, found: {error.strerror}") from None
    if len(content) > MAX_MESSAGE_BYTES:
        raise UsageError(f"{path}: expected at most {MAX_MESSAGE_BYTES} bytes, found more")
    return content.rstrip(b"\r\n")  # mail and editors add one; canonical JSON ends in "}"
