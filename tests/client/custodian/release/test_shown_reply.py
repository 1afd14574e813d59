import pytest

from fieldfare.client.ledger.kept_states import position_of, shown_position
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.protocol.messages import NoSigner, Reply, sign_envelope

REPLY = Reply(
    request="a" * 64,
    institution="bank-a",
    answer="b" * 64,
    vector="c" * 64,
    debit=5,
    ledger_sequence=7,
    ledger_head="d" * 64,
    cumulative=35,
    debited=35,
    epoch=2,
)


def test_nothing_was_shown() -> None:
    assert shown_position(None) is None


def test_a_shown_reply_says_where_the_ledger_stood_whoever_holds_the_key_now() -> None:
    shown = shown_position(sign_envelope(REPLY, "bank-a", NoSigner()))
    assert shown == position_of(REPLY)
    assert (shown.sequence, shown.head, shown.cumulative, shown.epoch) == (7, "d" * 64, 35, 2)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"body": {}}', b"\xff"])
def test_a_damaged_one_stops_everything(content: bytes) -> None:
    with pytest.raises(LedgerError, match="damaged"):
        shown_position(content)
