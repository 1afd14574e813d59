"""Who follows a part of a page: what changed, until it is over, while they may, a few at once."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from starlette.responses import Response
from tests.support.homes.consoles import Browser, ConsoleBench

from fieldfare.shared.console import following
from fieldfare.shared.console.accounts import IDLE
from fieldfare.shared.console.following import FollowedPart, Followers
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.errors import RunError
from fieldfare.shared.system.clock import since_boot

OVER = "event: over\ndata:\n\n"


@dataclass
class Followed:
    """A page with a part, of which each look shows the next of some texts."""

    console: ConsoleBench
    texts: list[str]
    looks: int = 0
    wrong: bool = False
    at_look: dict[int, object] = field(default_factory=dict)
    followers: Followers = field(default_factory=lambda: Followers(since_boot, every=0.0))

    def browser(self) -> Browser:
        page = Page("/events", Right.ENTER, self._follow, by_itself=True)
        found = Browser(self.console.app(page))
        self.console.log_in(found, self.console.enrolled("anna"))
        return found

    def _follow(self, visit: Visit) -> Response:
        return self.followers.follow(visit, self._look)

    def _look(self) -> FollowedPart:
        act = self.at_look.get(self.looks)
        if callable(act):
            act()
        if self.wrong:
            raise RunError("not now")
        text = self.texts[min(self.looks, len(self.texts) - 1)]
        self.looks += 1
        return FollowedPart(text, over=self.looks >= len(self.texts))


def test_each_change_is_an_event_and_what_is_the_same_is_none(console: ConsoleBench) -> None:
    page = Followed(console, ["<p>1\n2</p>", "<p>1\n2</p>", "<p>3</p>"])
    answer = page.browser().get("/events")
    assert answer.text == (
        f"event: part\ndata: <p>1\ndata: 2</p>\n\nevent: part\ndata: <p>3</p>\n\n{OVER}"
    )
    assert answer.headers["cache-control"] == "no-store"
    assert page.looks == 3


def test_who_logged_out_follows_no_more(console: ConsoleBench) -> None:
    page = Followed(console, ["one", "two", "three"])
    page.at_look[1] = lambda: console.book.close("anna", lambda _: None)
    text = page.browser().get("/events").text
    assert text == f"event: part\ndata: one\n\nevent: part\ndata: two\n\n{OVER}"


def test_following_is_no_use_of_a_session(console: ConsoleBench) -> None:
    page = Followed(console, ["one"])
    browser = page.browser()
    for _ in range(2):
        console.time.seconds += IDLE.total_seconds() / 2
        assert browser.get("/events").status_code in {200, 303}
    assert browser.get("/events").headers.get("location") == "/log-in"
    assert browser.get("/").headers.get("location") == "/log-in"


def test_trouble_ends_it(console: ConsoleBench) -> None:
    page = Followed(console, ["one"], wrong=True)
    assert page.browser().get("/events").text == OVER


def test_a_few_follow_at_once(console: ConsoleBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MOST_OF_PERSON", 1)
    page = Followed(console, ["one", "two"])
    browser, seen = page.browser(), []
    page.at_look[1] = lambda: seen.append(browser.get("/events").text)
    browser.get("/events")
    assert seen == [OVER]
    page.looks = 0
    page.at_look.clear()
    assert browser.get("/events").text.count("event: part") == 2  # the place is free again


def test_an_answer_ends_by_itself(console: ConsoleBench) -> None:
    page = Followed(console, ["one"] * 10_000)
    page.followers = Followers(
        since_boot, every=0.01, longest=timedelta(milliseconds=200).total_seconds()
    )
    assert page.browser().get("/events").text == "event: part\ndata: one\n\n"
