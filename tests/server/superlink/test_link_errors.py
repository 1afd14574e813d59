import httpx

from fieldfare.server.superlink.superlink import LONGEST_REASON, reason_of


def test_a_status_is_shown_with_what_came_with_it() -> None:
    request = httpx.Request("POST", "https://x")
    response = httpx.Response(412, text='{"detail": "No."}', request=request)
    error = httpx.HTTPStatusError("unseen", request=request, response=response)
    assert reason_of(error) == 'status 412: {"detail": "No."}'


def test_what_another_side_says_cannot_move_a_cursor_or_fill_a_screen() -> None:
    assert reason_of(ValueError("a\x1b[2J\n\n b\u202e")) == "ValueError: a [2J b"
    assert len(reason_of(ValueError("x" * 10_000))) == LONGEST_REASON
