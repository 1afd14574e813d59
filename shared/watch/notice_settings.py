"""`notices.toml` of a home: who is told, and over which servers. Nobody else can set it.

format = 1
quiet_hours = "22:00-07:00 America/Toronto"

[mail]
host = "mail.bank-a.example"
sender = "fieldfare@bank-a.example"
to = ["privacy-office@bank-a.example"]
user = "fieldfare"
password_file = "keys/mail-password"

[[webhook]]
name = "tickets"
url = "https://tickets.bank-a.example/hooks/fieldfare"
secret_file = "keys/tickets-hook"
"""

import base64
import binascii
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self

import httpx
from pydantic import AfterValidator, Field, model_validator

from fieldfare.shared.errors import KeysError
from fieldfare.shared.quiet_hours import QuietText
from fieldfare.shared.study.toml import PathText, RetiredKey, Section, load_toml
from fieldfare.shared.system.addresses import Host, Port, is_loopback
from fieldfare.shared.system.private_files import read_private

MOST_ADDRESSES: Final = 20
MOST_AN_HOUR: Final = 20  # notices to one address; further ones wait
NODE_AWAY: Final = timedelta(minutes=15)  # before a node counts as gone
CERTIFICATE_ENDS: Final = timedelta(days=30)  # before its end a certificate is told of
BUDGET_SHARE: Final = 0.1  # of a limit; with less left, a budget nears its end
LONGEST_URL: Final = 2000
LEAST_SECRET: Final = 24  # bytes, as "Standard Webhooks" asks for
_PREFIX: Final = b"whsec_"

MailAddress = Annotated[
    str,
    Field(
        max_length=254,
        pattern=r"^[A-Za-z0-9!#$%&'*+/=?^_{|}~-][A-Za-z0-9.!#$%&'*+/=?^_{|}~-]{0,63}"
        r"@[A-Za-z0-9]([A-Za-z0-9.-]{0,188}[A-Za-z0-9])?$",
    ),
]


def checked_url(text: str) -> str:
    """Return a URL that something may be sent to.

    Raises:
        ValueError: neither https nor this machine itself, or with a user, a password or a #.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise ValueError("expected a URL") from None
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.host)):
        raise ValueError("expected https, or http to this machine itself")
    if not url.host or url.userinfo or url.fragment:
        raise ValueError("expected a URL with a host, and without a user, a password or a #")
    return text


class MailTls(Enum):
    """When a mail server's connection is encrypted; NONE is for this machine alone."""

    STARTTLS = "starttls"
    AT_ONCE = "at once"
    NONE = "none"


class MailSection(Section):
    """The mail server, and who is written to.

    Attributes:
        host, port: of the server that takes mail in.
        tls: STARTTLS unless said otherwise; without it, only on this machine.
        authority: PEM file of who signed its certificate; empty: the system's authorities.
        sender: the address that notices come from.
        to: whom they go to, each in a message of its own.
        user, password_file: where the server wants a name; the file is private.
    """

    host: Host
    port: Port = 587
    tls: MailTls = Field(default=MailTls.STARTTLS, strict=False)
    authority: PathText | Literal[""] = ""
    sender: MailAddress
    to: tuple[MailAddress, ...] = Field(min_length=1, max_length=MOST_ADDRESSES, strict=False)
    user: str = Field(default="", max_length=200, pattern=r"^[\x21-\x7e]*$")
    password_file: PathText | Literal[""] = ""

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if self.tls is MailTls.NONE and not is_loopback(self.host):
            raise ValueError('tls: expected "starttls" or "at once" for another machine')
        if bool(self.user) != bool(self.password_file):
            raise ValueError("user: expected a user and a password_file, or neither")
        return self


class WebhookSection(Section):
    """One address that notices are posted to.

    Attributes:
        name: that lines of the log and lists call it by; its URL is never shown.
        url: https, or http to this machine.
        secret_file: a private file with the secret that signs: 24 bytes or more in base64.
        authority: PEM file of who signed its certificate; empty: the system's authorities.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    url: Annotated[str, Field(max_length=LONGEST_URL), AfterValidator(checked_url)]
    secret_file: PathText
    authority: PathText | Literal[""] = ""


class NoticesSettings(Section):
    """The whole file.

    Attributes:
        quiet_hours: in which nobody is written to; what came up is told afterwards.
    """

    format: Literal[1] = 1
    quiet_hours: QuietText = ""
    mail: MailSection | None = None
    webhook: tuple[WebhookSection, ...] = Field(default=(), max_length=MOST_ADDRESSES, strict=False)

    RETIRED: ClassVar = {
        key: RetiredKey(value, f"it is always {value}; take the line out")
        for key, value in (
            ("most_an_hour", MOST_AN_HOUR),
            ("node_minutes", int(NODE_AWAY.total_seconds()) // 60),
            ("certificate_days", CERTIFICATE_ENDS.days),
            ("budget_share", BUDGET_SHARE),
        )
    }

    @model_validator(mode="after")
    def _have_names(self) -> Self:
        if len({one.name for one in self.webhook}) != len(self.webhook):
            raise ValueError("webhook: expected each under a name of its own, found one twice")
        return self


def load_notices(path: Path) -> NoticesSettings:
    """Read `notices.toml`.

    Raises:
        StudyError: unreadable, or lists every mistake, one line each.
    """
    return load_toml(path, NoticesSettings)


def webhook_secret(path: Path) -> bytes:
    """Read the secret that signs a webhook's notices; `whsec_` may stand before it.

    Raises:
        KeysError: missing, open to others, no base64, or too short.
    """
    line = read_private(path).strip().removeprefix(_PREFIX)
    try:
        secret = base64.b64decode(line, validate=True)
    except (ValueError, binascii.Error):
        secret = b""
    if len(secret) < LEAST_SECRET:
        raise KeysError(
            f"{path}: expected a secret of {LEAST_SECRET} bytes or more in base64, found something "
            "else: make one with `openssl rand -base64 32`"
        )
    return secret
