"""The drawing of an analyst's decision is what a browser's form does: each function, in order."""

import re
from typing import Final

from tests.client.alerts.test_card import STATEMENT
from tests.support.federations.walks import drawn, files_of, walking
from tests.support.homes.consoles import TOKEN, Browser, ConsoleBench, desk, kept_statement
from tests.support.homes.reported import reported_alert

from fieldfare.client.alerts.alert_queue import open_queue
from fieldfare.client.alerts.feedback import Disposition
from fieldfare.client.home.layout import Home
from fieldfare.shared.console.rights import ConsoleRole

TITLE: Final = "An analyst's decision, from the form to the row"
MOST_FILES: Final = 6
ALERT: Final = reported_alert()
HIDDEN: Final = re.compile(r'name="(seen|key|view)" value="([^"]*)"')


def test_a_decision_goes_the_way_that_is_drawn(home: Home, console: ConsoleBench) -> None:
    kept_statement(home, [ALERT], STATEMENT)
    with walking() as walk:
        browser = Browser(desk(home.path, console))
        console.log_in(browser, console.enrolled("ana", ConsoleRole.ANALYST))
        text = browser.get(f"/alerts/{ALERT.alert}").text
        token = TOKEN.search(text)
        assert token
        said = {"disposition": "monitor", "role": "controller", "confidence": "high", "note": ""}
        with walk.noted():
            answer = browser.sent(
                f"/cases/{ALERT.alert}/decide",
                {**dict(HIDDEN.findall(text)), **said, "token": token[1]},
            )
    assert answer.status_code == 303
    with open_queue(home.path).store() as store:
        kept = store.kept(ALERT.alert, ())
    assert kept is not None
    assert [one.disposition for one in kept.decisions] == [Disposition.MONITOR]
    wanted = drawn(TITLE)
    assert [step for step in walk.steps if step in wanted] == wanted


def test_the_way_is_short() -> None:
    assert len(files_of(drawn(TITLE))) <= MOST_FILES
