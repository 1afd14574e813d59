import pytest

from fieldfare.shared.canonical import claimed


def test_what_a_message_claims_is_read() -> None:
    assert claimed(b'{"body":{"run":"run-1"},"signature":"?"}', "run") == "run-1"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"7",
        b"[]",
        b"{}",
        b'{"body":[]}',
        b'{"body":{}}',
        b'{"body":{"run":7}}',
        b"[" * 10**5,
        b"1" * 10**4,
    ],
)
def test_what_claims_nothing_is_passed_over(content: bytes) -> None:
    assert claimed(content, "run") is None
