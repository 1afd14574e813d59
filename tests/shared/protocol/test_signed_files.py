from pathlib import Path

import pytest

from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.messages import MAX_MESSAGE_BYTES
from fieldfare.shared.protocol.signed_files import read_signed


def test_line_ends_that_mail_adds_do_no_harm(tmp_path: Path) -> None:
    for ending in (b"", b"\n", b"\r\n", b"\n\n"):
        (tmp_path / "sent").write_bytes(b'{"a":1}' + ending)
        assert read_signed(tmp_path / "sent") == b'{"a":1}'


def test_what_cannot_be_read_or_is_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="readable file"):
        read_signed(tmp_path / "nowhere")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MAX_MESSAGE_BYTES + 1)
    with pytest.raises(UsageError, match="at most"):
        read_signed(tmp_path / "large")
