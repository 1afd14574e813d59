"""What a notice says: one of a closed list of sentences, the ids of a study and a run, a time.

Nothing else can be put into one. A study's name, a member, a number, a reason and every word that
a person typed stay at home (docs/adr/0031-a-notice-is-a-sentence-of-a-closed-list.md).
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from enum import Enum
from typing import Final

import rfc8785

from fieldfare.shared.errors import UsageError

FORMAT: Final = "fieldfare.notice.v1"

_ID: Final = re.compile(r"[0-9a-f]{32}")
_STUDY: Final = re.compile(r"([0-9a-f]{64})?")
_RUN: Final = re.compile(r"[A-Za-z0-9._-]{0,64}")


class NoticeKind(Enum):
    """Everything that people are told of."""

    STUDY_WAITS = "study waits"
    STUDY_READY = "study ready"
    STUDY_REJECTED = "study rejected"
    STUDY_APPROVED = "study approved"  # in a browser: whoever did not, hears of it
    NODE_GONE = "node gone"
    RUN_FAILED = "run failed"
    RUN_ENDED = "run ended"
    CERTIFICATE_ENDS = "certificate ends"
    BUDGET_ENDS = "budget ends"
    TEST = "test"


SENTENCES: Final[Mapping[NoticeKind, str]] = {
    NoticeKind.STUDY_WAITS: "A study waits for a decision.",
    NoticeKind.STUDY_READY: "A study has the approvals that it needs: a run can begin.",
    NoticeKind.STUDY_REJECTED: "A study was rejected.",
    NoticeKind.STUDY_APPROVED: "A study was approved in a browser.",
    NoticeKind.NODE_GONE: "A node is gone: it has not been connected for some time.",
    NoticeKind.RUN_FAILED: "A run failed, or was interrupted.",
    NoticeKind.RUN_ENDED: "A run ended: it is finished.",
    NoticeKind.CERTIFICATE_ENDS: "A certificate ends within weeks.",
    NoticeKind.BUDGET_ENDS: "A privacy budget nears its end.",
    NoticeKind.TEST: "This is a test: notices arrive here.",
}


@dataclass(frozen=True)
class Notice:
    """One notice.

    Attributes:
        id: 32 hexadecimal digits; the same notice that arrives twice has the same.
        kind: which sentence.
        study: a study's id, or nothing.
        run: a run's id, or nothing.
        at: when it was made, rounded down to five minutes.
    """

    id: str
    kind: NoticeKind
    study: str
    run: str
    at: datetime

    def __post_init__(self) -> None:
        """Refuse everything but ids: nothing a stranger wrote gets into a header or a body.

        Raises:
            UsageError: a text is no id.
        """
        given = ((_ID, self.id), (_STUDY, self.study), (_RUN, self.run))
        if not all(pattern.fullmatch(text) for pattern, text in given):
            raise UsageError("expected ids of a notice, a study and a run, found something else")

    @property
    def sentence(self) -> str:
        """What it says."""
        return SENTENCES[self.kind]


def rounded(at: datetime) -> datetime:
    """Return a moment, rounded down to five minutes of UTC."""
    utc = at.astimezone(UTC)
    return utc.replace(minute=utc.minute - utc.minute % 5, second=0, microsecond=0)


def mail_of(notice: Notice, sender: str, recipient: str) -> bytes:
    """Return a notice as a message of RFC 5322, ASCII.

    Args:
        notice: what is said.
        sender: an address, checked when the settings were read.
        recipient: another.
    """
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"] = sender, recipient
    message["Subject"] = f"Fieldfare: {notice.kind.value}"
    message["Date"] = format_datetime(notice.at)
    message["Message-ID"] = f"<{notice.id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note answers
    lines = [notice.sentence, ""]
    lines += [f"study {notice.study}"] if notice.study else []
    lines += [f"run {notice.run}"] if notice.run else []
    lines += [f"time {notice.at:%Y-%m-%d %H:%M} UTC", f"notice {notice.id}"]
    message.set_content("\n".join(lines) + "\n", charset="us-ascii", cte="7bit")
    return message.as_bytes()


def webhook_body(notice: Notice) -> bytes:
    """Return a notice as a webhook's body: canonical JSON (RFC 8785)."""
    return rfc8785.dumps(
        {
            "format": FORMAT,
            "id": notice.id,
            "kind": notice.kind.value,
            "text": notice.sentence,
            "study": notice.study,
            "run": notice.run,
            "at": notice.at.isoformat(),
        }
    )


def webhook_headers(notice: Notice, body: bytes, secret: bytes, now: datetime) -> dict[str, str]:
    """Return the headers that sign a webhook's body, as "Standard Webhooks" 1.0 has them.

    HMAC-SHA256 over id, time of sending and body: a receiver drops what is older than minutes,
    and an id that it had before.
    """
    sent = str(int(now.timestamp()))
    signed = hmac.new(secret, f"{notice.id}.{sent}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "user-agent": "Fieldfare",
        "webhook-id": notice.id,
        "webhook-timestamp": sent,
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }
