"""What a node may have waiting: counts, without a SuperLink."""

from fieldfare.server.superlink.quota import MOST_CROWDED, Pieces, ReplyLimits, ReplyQuota

LIMITS = ReplyLimits(pieces=3, waiting_bytes=100, waiting_pieces=6)


def everything(pieces: Pieces) -> Pieces:
    return pieces


def nothing(_: Pieces) -> Pieces:
    return ()


def test_a_reply_has_so_many_pieces() -> None:
    quota = ReplyQuota(LIMITS, everything)
    assert quota.announce(1, 1, ["a", "b", "c"]) == ""
    assert quota.announce(1, 1, "abcd").startswith("expected a reply of at most 3 pieces, found 4")


def test_so_many_bytes_wait_of_each_node_in_each_run() -> None:
    quota = ReplyQuota(LIMITS, everything)
    assert quota.push(1, 1, "a", 60) == ""
    assert quota.push(1, 1, "a", 60) == ""  # sent again
    assert "100 bytes" in quota.push(1, 1, "b", 41)
    assert quota.push(1, 1, "c", 40) == ""
    assert quota.push(1, 2, "b", 100) == ""
    assert quota.push(2, 1, "b", 100) == ""


def test_so_many_pieces_wait() -> None:
    quota = ReplyQuota(LIMITS, everything)
    assert [quota.announce(1, 1, pieces) for pieces in ("abc", "def", "abc")] == [""] * 3
    assert "6 pieces" in quota.announce(1, 1, "g")


def test_what_is_gone_counts_no_longer() -> None:
    quota = ReplyQuota(LIMITS, nothing)
    assert [quota.push(1, 1, str(number), 90) for number in range(50)] == [""] * 50


def test_what_is_remembered_is_bounded() -> None:
    quota = ReplyQuota(LIMITS, everything)
    for node in range(MOST_CROWDED + 10):
        quota.push(node, 1, "a", 1)
    assert len(quota._waiting) == MOST_CROWDED
