"""Notices go out in order: not in quiet hours, not too many, and never around in a circle."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.network.receivers import web_server

from fieldfare.shared.errors import NoticeError, RunError
from fieldfare.shared.system.private_files import create_private
from fieldfare.shared.watch.dispatch import Dispatcher, NoticesHome, send_waiting
from fieldfare.shared.watch.notice_screen import newest, tried
from fieldfare.shared.watch.notice_settings import MOST_AN_HOUR, NoticesSettings
from fieldfare.shared.watch.outbox import Fact, Observation, Outbox, open_outbox
from fieldfare.shared.watch.sentences import Notice, NoticeKind

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ALL = frozenset(NoticeKind)
HOOK = """
[[webhook]]
name = "tickets"
url = "{url}"
secret_file = "secret"
"""


@dataclass
class Desk:
    """An address that takes notices, or does not, and a clock."""

    address: str = "desk"
    now: datetime = NOW
    up: bool = True
    tries: int = 0
    taken: list[Notice] = field(default_factory=list)

    def clock(self) -> datetime:
        return self.now

    def send(self, notice: Notice, now: datetime) -> None:
        assert now == self.now
        self.tries += 1
        if not self.up:
            raise NoticeError("nobody is at the desk")
        self.taken.append(notice)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with open_outbox(tmp_path / "outbox.sqlite") as opened:
        yield opened


def waits(count: int) -> Observation:
    return Observation(tuple(Fact(NoticeKind.STUDY_WAITS, f"{n:064x}") for n in range(count)), ALL)


def test_no_more_than_so_many_go_out_in_an_hour(outbox: Outbox) -> None:
    desk, settings = Desk(), NoticesSettings()
    outbox.look(waits(2 * MOST_AN_HOUR + 2), [desk.address], NOW)
    for minute in range(0, 180, 1):
        desk.now = NOW + timedelta(minutes=minute)
        send_waiting(outbox, desk, settings, desk.clock, print)
        assert len(desk.taken) == min(42, 20 * (1 + minute // 60))


def test_what_comes_up_in_quiet_hours_is_told_afterwards(outbox: Outbox) -> None:
    desk, settings = Desk(now=NOW.replace(hour=23)), NoticesSettings(quiet_hours="22:00-07:00")
    outbox.look(waits(1), [desk.address], desk.now)
    send_waiting(outbox, desk, settings, desk.clock, print)
    assert desk.taken == []
    desk.now += timedelta(hours=8)
    send_waiting(outbox, desk, settings, desk.clock, print)
    assert len(desk.taken) == 1


def test_a_server_that_is_down_for_a_week_is_called_now_and_then_and_hears_all(
    outbox: Outbox,
) -> None:
    desk, said, settings = Desk(up=False), list[str](), NoticesSettings()
    for minute in range(0, 7 * 24 * 60, 15):
        desk.now = NOW + timedelta(minutes=minute)
        outbox.look(waits(5), [desk.address], desk.now)
        send_waiting(outbox, desk, settings, desk.clock, said.append)
    assert desk.tries == len(said) <= 9 + 7 * 24 // 6
    assert desk.tries >= 7 * 24 // 6
    assert said[0] == "desk: nobody is at the desk; it is tried again in 1 min"
    desk.up, desk.now = True, desk.now + timedelta(hours=6)
    send_waiting(outbox, desk, settings, desk.clock, said.append)
    assert (len(desk.taken), said[-1]) == (5, "desk: 5 notices sent")


def test_what_was_sent_and_not_noted_comes_again_under_its_id(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a process is killed between the two."""
    desk, settings = Desk(), NoticesSettings()
    outbox.look(waits(1), [desk.address], NOW)
    with monkeypatch.context() as killed:
        killed.setattr(outbox, "sent", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            send_waiting(outbox, desk, settings, desk.clock, print)
    send_waiting(outbox, desk, settings, desk.clock, print)
    first, second = desk.taken
    assert first == second


def home(folder: Path, text: str) -> NoticesHome:
    (folder / "notices.toml").write_text("format = 1\n" + text)
    if not (folder / "secret").exists():
        create_private(folder / "secret", b"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0")
    return NoticesHome(folder, folder / "notices.toml", folder / "notices" / "outbox.sqlite")


def test_a_mistake_in_the_settings_is_said_once_and_mended_without_a_restart(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    place = home(tmp_path, "most_an_hour = 0\n")
    with web_server() as hook, open_outbox(place.outbox) as outbox:
        made = Dispatcher(place, lambda *_: waits(1), said.append, lambda: NOW)
        made.round(outbox)
        made.round(outbox)
        assert ["most_an_hour" in line for line in said] == [True]
        home(tmp_path, HOOK.format(url=hook.url))
        made.round(outbox)
    assert (len(hook.posted), said[1:]) == (1, ["webhook tickets: 1 notice sent"])


def test_a_look_that_fails_stops_nothing_that_waits(tmp_path: Path) -> None:
    said: list[str] = []
    with web_server() as hook:
        place = home(tmp_path, HOOK.format(url=hook.url))

        def broken(*_: object) -> Observation:
            raise RunError("expected a run store, found none")

        with open_outbox(place.outbox) as outbox:
            outbox.look(waits(1), ["webhook tickets"], NOW)
            made = Dispatcher(place, broken, said.append, lambda: NOW)
            made.round(outbox)
            made.round(outbox)
    assert len(hook.posted) == 1
    assert said == ["expected a run store, found none", "webhook tickets: 1 notice sent"]


def test_serving_ends_when_told_to(tmp_path: Path) -> None:
    rounds: list[float] = []

    def stopped(seconds: float) -> bool:
        rounds.append(seconds)
        return len(rounds) == 3

    place = home(tmp_path, "")
    Dispatcher(place, lambda *_: waits(1), print, lambda: NOW).serve(stopped)
    assert (rounds, place.outbox.exists()) == ([60.0] * 3, True)


def test_every_address_is_tried_and_what_was_sent_is_listed(tmp_path: Path) -> None:
    with web_server() as hook:
        text = HOOK.format(url=hook.url) + HOOK.format(url="http://127.0.0.1:1/x").replace(
            "tickets", "other"
        )
        place = home(tmp_path, text)
        found = [*tried(place, NOW, lambda: "0" * 32)]
    assert [sent for _, sent in found] == [True, False]
    assert b"This is a test" in hook.posted[0][2]
    assert newest(place) == []
