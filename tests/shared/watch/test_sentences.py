"""A notice holds a sentence, ids and a time, whatever somebody would like to put into it."""

import base64
import email
import hashlib
import hmac
import json
from datetime import UTC, datetime
from email.policy import default

import pytest

from fieldfare.shared.errors import UsageError
from fieldfare.shared.watch.sentences import (
    SENTENCES,
    Notice,
    NoticeKind,
    mail_of,
    rounded,
    webhook_body,
    webhook_headers,
)

AT = datetime(2026, 6, 1, 12, 35, tzinfo=UTC)
NOTICE = Notice("0" * 32, NoticeKind.RUN_FAILED, "a" * 64, "2026-06-01-small-0a1b2c", AT)


def test_every_kind_has_a_sentence_of_its_own() -> None:
    assert set(SENTENCES) == set(NoticeKind)
    assert len(set(SENTENCES.values())) == len(SENTENCES)
    assert all(text.isascii() and "\n" not in text for text in SENTENCES.values())


def test_a_mail_says_the_sentence_and_the_ids() -> None:
    content = mail_of(NOTICE, "fieldfare@bank-a.example", "office@bank-a.example")
    found = email.message_from_bytes(content, policy=default)
    assert found["Subject"] == "Fieldfare: run failed"
    assert found["Message-ID"] == f"<{'0' * 32}@bank-a.example>"
    assert found["Auto-Submitted"] == "auto-generated"
    assert found.get_content().splitlines() == [
        "A run failed, or was interrupted.",
        "",
        f"study {'a' * 64}",
        "run 2026-06-01-small-0a1b2c",
        "time 2026-06-01 12:35 UTC",
        f"notice {'0' * 32}",
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"run": "x\r\nBcc: everybody@example.org"},
        {"run": "x\n"},
        {"run": "x" * 65},
        {"run": "maria lopez"},
        {"run": "\u202e"},
        {"study": "small\r\nSubject: another"},
        {"study": "a" * 63},
        {"study": "A" * 64},
        {"id": "0" * 31},
        {"id": "0" * 32 + "\n"},
    ],
)
def test_what_is_no_id_gets_into_no_header_and_no_body(changed: dict[str, str]) -> None:
    given = {"id": NOTICE.id, "study": NOTICE.study, "run": NOTICE.run} | changed
    with pytest.raises(UsageError, match=r"a study and a run, found something else$"):
        Notice(kind=NOTICE.kind, at=AT, **given)


def test_a_body_is_signed_with_its_id_and_time() -> None:
    body, secret = webhook_body(NOTICE), b"s" * 32
    headers = webhook_headers(NOTICE, body, secret, AT)
    signed = f"{NOTICE.id}.{headers['webhook-timestamp']}.".encode() + body
    mac = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{mac}"
    assert (headers["webhook-id"], int(headers["webhook-timestamp"])) == (NOTICE.id, AT.timestamp())
    assert json.loads(body) == {
        "format": "fieldfare.notice.v1",
        "id": NOTICE.id,
        "kind": "run failed",
        "text": "A run failed, or was interrupted.",
        "study": NOTICE.study,
        "run": NOTICE.run,
        "at": "2026-06-01T12:35:00+00:00",
    }


def test_times_are_rounded_down_to_five_minutes() -> None:
    assert rounded(AT.replace(minute=39, second=59, microsecond=7)) == AT
