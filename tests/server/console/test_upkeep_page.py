"""Notices, clock and certificates in a browser."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.homes.consoles import Browser
from tests.support.homes.keyed_coordinators import KeyedCoordinator

from fieldfare.server.console import upkeep_page
from fieldfare.shared.protocol.messages import IdentitySigner, KeyOffer, sign_envelope
from fieldfare.shared.system.certificates import valid_until
from fieldfare.shared.system.clock import kept_within
from fieldfare.shared.system.private_files import create_private
from fieldfare.shared.transcript.leaves import Leaf, LeafKind
from fieldfare.shared.watch.outbox import Fact, Observation, open_outbox
from fieldfare.shared.watch.sentences import NoticeKind

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SETTINGS = b"""
quiet_hours = "22:00-07:00"
[mail]
host = "mail.example.org"
sender = "fieldfare@example.org"
to = ["lead@example.org"]
[[webhook]]
name = "tickets"
url = "https://tickets.example.org/hooks/very-secret"
secret_file = "keys/hook"
"""


def test_who_is_told_and_what_was(keyed: KeyedCoordinator, watching: Browser) -> None:
    text = watching.shown("/notices")
    assert "No notices are sent" in text
    assert "No notice yet" in text
    assert not keyed.home.outbox.exists()
    create_private(keyed.home.notices, SETTINGS)
    facts = (Fact(NoticeKind.RUN_FAILED, "a" * 64, "run-1"), Fact(NoticeKind.NODE_GONE))
    kinds = frozenset({NoticeKind.RUN_FAILED, NoticeKind.NODE_GONE})
    with open_outbox(keyed.home.outbox) as outbox:
        outbox.look(Observation((), kinds), ["mail to lead@example.org"], NOW)
        for one in outbox.look(Observation(facts, kinds), ["mail to lead@example.org"], NOW):
            if one.kind is NoticeKind.NODE_GONE:
                outbox.sent(one, "mail to lead@example.org", NOW)
    text = " ".join(watching.shown("/notices").split())
    assert "mail to lead@example.org" in text
    assert "webhook tickets" in text
    assert "very-secret" not in text
    assert "22:00-07:00" in text
    assert "1 waits to be sent" in text
    assert "node gone none mail to lead@example.org sent" in text
    assert "run failed run-1 mail to lead@example.org waiting" in text


def test_settings_with_mistakes_are_said(keyed: KeyedCoordinator, watching: Browser) -> None:
    create_private(keyed.home.notices, b"odd = 1")
    assert "notices.toml" in watching.shown("/notices")


def test_certificates_with_days_left(
    keyed: KeyedCoordinator, watching: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = valid_until(keyed.home.server_certificate.read_bytes())
    for before, said in (
        (timedelta(days=100, hours=1), "100 days left"),
        (timedelta(days=1, hours=1), "1 day left"),
        (timedelta(0), "ended"),
    ):
        monkeypatch.setattr(upkeep_page, "utc_now", lambda before=before: ends - before)
        text = " ".join(watching.shown("/check").split())
        assert f"SuperLink's certificate {said}" in text
        assert ("fieldfare coordinator renew certificate" in text) == (said != "100 days left")
    keyed.home.server_certificate.write_bytes(b"none")
    assert "SuperLink's certificate" in watching.shown("/check")


@pytest.mark.parametrize(
    ("within", "said"),
    [
        (None, "does not say whether"),
        (math.inf, "nothing synchronises it"),
        (0.25, "right within 0.25 s"),
    ],
)
def test_this_clock(
    watching: Browser, monkeypatch: pytest.MonkeyPatch, within: float | None, said: str
) -> None:
    monkeypatch.setattr(upkeep_page, "kept_within", lambda: within)
    assert said in watching.shown("/check")


def test_the_kernel_says_how_right_the_clock_is() -> None:
    found = kept_within()
    assert found is None or found > 0


def test_members_clocks_at_the_last_opening(keyed: KeyedCoordinator, watching: Browser) -> None:
    assert "No run has been opened yet" in watching.shown("/check")
    with keyed.store() as store:
        store.create("run-1", keyed.study.id, NOW)
        store.note_begun("run-1", NOW, automatic=False)
        leaves = []
        for name, after in (("bank-a", 3), ("bank-b", -400), ("bank-c", 9)):
            body = KeyOffer(
                opening="0" * 64,
                institution=name,
                ciphertexts={},
                time=int(NOW.timestamp()) + after,
            )
            signed = sign_envelope(body, name, IdentitySigner(keyed.keys[name]))
            leaves.append(Leaf(LeafKind.OFFER, signed))
        store.append("run-1", [*leaves, Leaf(LeafKind.OFFER, b"none")])
    text = " ".join(watching.shown("/check").split())
    assert "bank-a 2026-06-01 12:00:03 UTC 3 s" in text
    assert "bank-b 2026-06-01 11:53:20 UTC -400 s" in text
    assert watching.get("/check").text.count('here" class="late"') == 1
