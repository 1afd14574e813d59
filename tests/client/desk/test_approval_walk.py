"""The drawing of a study's approval is what a browser's form does: each function, in that order."""

import re
from typing import Final

from tests.support.federations.walks import drawn, files_of, walking
from tests.support.homes.consoles import TOKEN, Browser, ConsoleBench
from tests.support.homes.deciders import let_decide
from tests.support.homes.institutions import Coordinator, home_study

from fieldfare.client.console.pages import menu_of, pages_of
from fieldfare.client.console.place import ConsolePlace
from fieldfare.client.desk.place import desk_socket, desk_users
from fieldfare.client.desk.process import desk_lines
from fieldfare.client.home.studies import State, read_decision
from fieldfare.shared.console.frame import console_app
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.desk.answering import Desk, serving_desk

TITLE: Final = "A study's approval, from the page"
MOST_FILES: Final = 9
SHARED: Final = [  # what `fieldfare institution approve` does, too
    ("client/institution/open.py", "open_custody"),
    ("client/institution/ledger_checks.py", "check_not_behind"),
    ("client/approvals/approval.py", "load_for"),
    ("client/approvals/approval.py", "approve"),
    ("client/custodian/custodian.py", "Custodian.accept"),
    ("client/ledger/ledger.py", "Ledger.put_run_state"),
    ("client/custodian/key_agreement.py", "ApprovedStudy.make"),
    ("client/journal/decisions.py", "JournalDecisions.approved"),
    ("client/home/studies.py", "write_decision"),
    ("client/daemon/telling.py", "notify_custodian"),
]


def test_an_approval_goes_the_way_that_is_drawn(
    coordinator: Coordinator, console: ConsoleBench
) -> None:
    home = coordinator.homes["bank-a"]
    decider, kept = let_decide(coordinator, home, "otto"), coordinator.receive(home_study())
    pages = pages_of(ConsolePlace(home.path, home.path, console.book))
    templates = ("fieldfare.client.console",)
    app = console_app(console.parts(*pages, menu=menu_of(pages), templates=templates))
    desk, page = Desk(desk_lines(home), lambda: desk_users(None)), f"/studies/{kept.study.id}"
    with walking() as walk, serving_desk(desk, desk_socket(home, None)):
        browser = Browser(app)
        console.log_in(browser, console.enrolled("otto", ConsoleRole.OPERATOR))
        text = browser.get(page).text
        token, seen = (one.search(text) for one in (TOKEN, re.compile(r'"seen" value="(\w+)"')))
        assert token
        assert seen
        fields = {"token": token[1], "seen": seen[1], "say": "approve", "code": decider.code()}
        with walk.noted():
            answer = browser.sent(f"{page}/decide", fields | {"safety": decider.safety})
    assert "approved by otto" in answer.text
    assert read_decision(home, kept.study.id).state is State.APPROVED
    wanted = [*drawn(TITLE), *SHARED]
    assert [step for step in walk.steps if step in wanted] == wanted


def test_the_way_is_short() -> None:
    assert len(files_of(drawn(TITLE))) <= MOST_FILES
