"""No value of a record is in an address, a log, a notice, or what a process was started with.

A coordinator and three banks as real processes; every customer's name and everything that is typed
about one bears a mark. It belongs on pages of alerts, in the store of alerts and in the records.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.deployment.test_coordinator_console import approved, proposed, watched_to_its_end
from tests.support.browsers.looking import Look, chromium
from tests.support.browsers.served import served
from tests.support.federations.beds import NAMES, small_bed
from tests.support.network.receivers import Hook, Mailbox, mail_server, web_server
from tests.support.system.arguments import watched_arguments

from fieldfare.client.home.layout import Home
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.system.private_files import create_private
from fieldfare.simulations.demo.testbed import Bed

MARK: Final = "MARKER"
BANK: Final = NAMES[0]
ALERTS: Final = re.compile(r"alerts\.sqlite(-wal|-shm)?")  # the store
STUDIES: Final = ("/studies", "/budget", "/records", "/log", "/check", "/models")
NOTICES: Final = """\
[mail]
host = "127.0.0.1"
port = {port}
tls = "none"
sender = "fieldfare@bank-a.example"
to = ["office@bank-a.example"]
[[webhook]]
name = "tickets"
url = "{url}"
secret_file = "keys/hook"
"""


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    """Three banks whose customers' names bear the mark."""
    made = small_bed(tmp_path / "bed", steps=2)
    for name, path in made.records.items():
        table = pq.read_table(path)
        names = pa.array([f"{MARK}-{name}-{row}" for row in range(len(table))])
        pq.write_table(table.set_column(0, "customer", names), path)
    text = made.study.read_text().replace("units = 1200", "units = 40000")
    made.study.write_text(text)
    return made


@dataclass
class Found:
    """What came of a day's work, from which no record may be read."""

    addresses: set[str] = field(default_factory=set)
    shown: list[str] = field(default_factory=list)  # pages of alerts: there the mark belongs

    def left(self, look: Look) -> None:
        look.stayed()
        self.addresses |= look.asked


@pytest.mark.promises  # `make nightly PART=console`
@pytest.mark.timeout(1_200)
def test_the_mark_stays_on_pages_of_alerts(
    bed: Bed, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found, log = Found(), tmp_path / "consoles.log"
    with watched_arguments() as started, mail_server() as box, web_server() as hook:
        bed.found()
        for home, told in (
            (bed.coordinator_home, CoordinatorHome(bed.coordinator_home).notices),
            (bed.home(BANK), Home(bed.home(BANK)).notices),
        ):
            create_private(home / "keys" / "hook", b"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0")
            create_private(told, NOTICES.format(port=box.port, url=hook.url).encode())
        try:
            bed.start()
            run = trained(bed, capfd, found, log)
            out = str(tmp_path / "ranked.parquet")
            bed.institution(BANK, "score", "--model", run, "--out", out, "--budget", "10")
            with served(bed.home(BANK), capfd, log=log) as (address, link):
                worked(address, link("anna"), found)
                watched(address, link("otto", "operator"), found)
            bed.until(lambda: len(box.envelopes) >= 2 and len(hook.posted) >= 2, "notices")
        finally:
            bed.stop()
    assert all(MARK in one for one in found.shown), "the mark is nowhere: nothing was looked for"
    assert any(b"console" in one for one in started)
    assert marked(sorted(map(unquote, found.addresses))) == []
    assert marked([one.decode(errors="replace") for one in started]) == []
    assert marked(told_in(box, hook)) == []
    assert marked([log.read_text(), *capfd.readouterr()]) == []
    assert {ALERTS.sub("the store", name) for name in files_with_it(bed.folder)} == {"the store"}


def test_what_a_short_process_is_started_with_is_seen() -> None:
    """The search would find a mark in arguments and in an environment."""
    with watched_arguments() as started:
        for _ in range(2):
            given = {**os.environ, "SECRET": f"{MARK}-SET"}
            run = [sys.executable, "-c", "import time; time.sleep(.3)", f"{MARK}-GIVEN"]
            subprocess.run(run, env=given, check=True)
    found = "".join(marked([one.decode(errors="replace") for one in started]))
    assert f"{MARK}-SET" in found
    assert f"{MARK}-GIVEN" in found


def trained(bed: Bed, capfd: pytest.CaptureFixture[str], found: Found, log: Path) -> str:
    """The coordinator's people: propose, start, watch to the model; its run."""
    with (
        served(bed.coordinator_home, capfd, log=log) as (address, link),
        chromium(address, scripts=True, checks=False) as look,
    ):
        look.enrol(link("cora", "operator"), "cora")
        study = proposed(look, bed)
        approved(bed, study)
        run = watched_to_its_end(look, study)
        for path in ("/", "/members", "/runs", "/transcripts", "/incidents", "/notices", "/log"):
            look.open(path)
            assert MARK not in look.page.content(), path
        found.left(look)
    return run


def worked(address: str, token: str, found: Found) -> None:
    """An analyst filters, reads, takes, comments, decides, drafts."""
    with chromium(address, scripts=True, checks=False) as look:
        page = look.page
        look.enrol(token, "anna")
        look.open("/alerts")
        page.locator("[data-row] a").first.click()
        page.get_by_role("heading", name="Reasons").wait_for()
        found.shown.append(page.content())
        page.get_by_role("button", name="Take").click()
        page.get_by_label("Comment").fill(f"{MARK}-COMMENT")
        page.get_by_role("button", name="Comment").click()
        page.get_by_text(f"{MARK}-COMMENT").wait_for()
        page.get_by_label("Decision").select_option("escalate")
        page.get_by_label("Role of this person").select_option("controller")
        page.get_by_label("Reason (never leaves").fill(f"{MARK}-WHY")
        page.get_by_role("button", name="Decide").click()
        page.get_by_role("link", name="Draft a report: goaml").click()
        page.get_by_label("gender").fill(f"{MARK}-TYPED")
        page.get_by_text("fields to be completed").wait_for()
        with page.expect_download() as saved:
            page.get_by_role("button", name="Save as a file").click()
        found.shown.append(saved.value.path().read_text())
        found.left(look)


def watched(address: str, token: str, found: Found) -> None:
    """An operator sees none of it."""
    with chromium(address, scripts=True, checks=False) as look:
        look.enrol(token, "otto")
        for path in STUDIES:
            look.open(path)
            look.page.get_by_role("heading", level=1).wait_for()
            assert MARK not in look.page.content(), path
        found.left(look)


def marked(texts: Sequence[str]) -> list[str]:
    """Those with the mark, around it."""
    return [text[max(0, at - 80) : at + 80] for text in texts if (at := text.find(MARK)) >= 0]


def told_in(box: Mailbox, hook: Hook) -> list[str]:
    """Every mail and every posted body, with their headers."""
    mails = [(one.original_content or b"").decode() for one in box.envelopes]
    return mails + [f"{path} {head} {body.decode()}" for path, head, body in hook.posted]


def files_with_it(folder: Path) -> Iterator[str]:
    """Names of files with the mark, of all homes and logs; records are what they are."""
    for path in sorted(folder.rglob("*")):
        records = path.suffix == ".parquet"
        if path.is_file() and not records and MARK.encode() in path.read_bytes():
            yield path.name
