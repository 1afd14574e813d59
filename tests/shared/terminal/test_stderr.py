"""What stands on stderr meanwhile: a bar where it is seen, and no line of a log."""

import logging

import pytest

from fieldfare.shared.terminal.stderr import progress_bar, without_log


@pytest.mark.parametrize(("visible", "seen"), [(None, False), (False, False), (True, True)])
def test_a_bar_is_seen_where_it_is_asked_for_and_on_a_terminal(
    visible: bool | None, seen: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar(visible=visible) as said:
        said("training together", 3, 4)
    found = capsys.readouterr()
    assert found.out == ""
    assert (found.err != "") is seen  # that is no terminal: not drawn, but its line is ended


def test_a_bar_shows_a_name_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder's name with brackets was taken for markup, and ended the command."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal
    with progress_bar() as said:
        said("/srv/a[/b] [red]c", 1, 2)
    assert "/srv/a[/b] [red]c" in capsys.readouterr().err


def test_a_log_is_still_but_for_errors_and_only_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = logging.getLogger("fieldfare.of_this_test")
    log.setLevel(logging.INFO)
    with pytest.raises(ValueError, match="over"), without_log(log.name):  # noqa: PT012
        log.warning("a line")
        log.error("an error")
        raise ValueError("over")
    log.info("afterwards")
    assert caplog.messages == ["an error", "afterwards"]
