"""How a notice leaves: one message to a mail server, one POST to a webhook.

Nothing that the other side says is believed or shown: a server's words never reach a log, its
redirects lead nowhere, its answer is not read, and it has half a minute.
"""

import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Final, Protocol

import httpx

from fieldfare.shared.errors import FieldfareError, NoticeError
from fieldfare.shared.system.private_files import read_private
from fieldfare.shared.watch.notice_settings import (
    MailSection,
    MailTls,
    NoticesSettings,
    WebhookSection,
    webhook_secret,
)
from fieldfare.shared.watch.sentences import Notice, mail_of, webhook_body, webhook_headers

CONNECTION_SECONDS: Final = 10.0  # for each read and write
MOST_SECONDS: Final = 30.0  # for all of it

SUCCESS: Final = range(200, 300)
REDIRECTS: Final = range(300, 400)


class Route(Protocol):
    """One address that notices are sent to."""

    @property
    def address(self) -> str:
        """The name of it, for the outbox, the log and lists."""
        ...

    def send(self, notice: Notice, now: datetime) -> None:
        """Send a notice.

        Raises:
            NoticeError: it was not taken, or took too long.
        """
        ...


@dataclass
class Patience:
    """Waits for a call so long, and begins no second one beside one that still hangs."""

    seconds: float = MOST_SECONDS
    _hanging: Thread | None = None

    def wait(self, call: Callable[[], None]) -> None:
        """Carry out `call`.

        Raises:
            NoticeError: `call` does, or it took too long.
        """
        if self._hanging is not None and self._hanging.is_alive():
            raise NoticeError("the last try has not ended")
        done: Queue[FieldfareError | None] = Queue()

        def carried_out() -> None:
            """Send, and hand over what went wrong."""
            try:
                call()
            except FieldfareError as error:
                done.put(error)
            else:
                done.put(None)

        self._hanging = Thread(target=carried_out, daemon=True)
        self._hanging.start()
        try:
            failure = done.get(timeout=self.seconds)
        except Empty:
            raise NoticeError("it took too long") from None
        if failure is not None:
            raise failure


@dataclass(frozen=True)
class MailRoute:
    """One recipient of mail.

    Attributes:
        section: the mail server.
        to: the recipient.
        folder: that relative paths of the settings are below.
    """

    section: MailSection
    to: str
    folder: Path
    patience: Patience = field(default_factory=Patience)

    @property
    def address(self) -> str:
        """The name of it."""
        return f"mail to {self.to}"

    def send(self, notice: Notice, now: datetime) -> None:
        """Send a notice in a session of its own; TLS first wherever it leaves this machine.

        Raises:
            NoticeError: the server did not take it.
            KeysError: the password's file cannot be read.
        """
        del now
        content = mail_of(notice, self.section.sender, self.to)
        self.patience.wait(lambda: self._deliver(content))

    def _deliver(self, content: bytes) -> None:
        section, context = self.section, _tls(self.folder, self.section.authority)
        helo = section.sender.rpartition("@")[2]  # not what a resolver calls this machine
        with _mail_faults():
            if section.tls is MailTls.AT_ONCE:
                session: smtplib.SMTP = smtplib.SMTP_SSL(
                    section.host, section.port, helo, timeout=CONNECTION_SECONDS, context=context
                )
            else:
                session = smtplib.SMTP(section.host, section.port, helo, timeout=CONNECTION_SECONDS)
            with session:
                if section.tls is MailTls.STARTTLS:
                    session.starttls(context=context)
                if section.user:
                    session.login(section.user, self._password())
                session.sendmail(section.sender, [self.to], content)

    def _password(self) -> str:
        return read_private(self.folder / self.section.password_file).decode().rstrip("\r\n")


@dataclass(frozen=True)
class WebhookRoute:
    """One webhook.

    Attributes:
        section: its URL and its secret's file.
        folder: that relative paths of the settings are below.
    """

    section: WebhookSection
    folder: Path
    patience: Patience = field(default_factory=Patience)

    @property
    def address(self) -> str:
        """The name of it; the URL may hold a secret."""
        return f"webhook {self.section.name}"

    def send(self, notice: Notice, now: datetime) -> None:
        """Post a notice, signed; only an answer of 200 to 299 counts.

        Raises:
            NoticeError: the server did not take it.
            KeysError: the secret's file cannot be used.
        """
        body = webhook_body(notice)
        secret = webhook_secret(self.folder / self.section.secret_file)
        headers = webhook_headers(notice, body, secret, now)
        self.patience.wait(lambda: self._post(body, headers))

    def _post(self, body: bytes, headers: dict[str, str]) -> None:
        context = _tls(self.folder, self.section.authority)
        try:
            with (
                httpx.Client(
                    verify=context,
                    trust_env=False,  # no proxy and no password that an environment names
                    follow_redirects=False,
                    timeout=CONNECTION_SECONDS,
                ) as client,
                client.stream("POST", self.section.url, content=body, headers=headers) as answer,
            ):
                status = answer.status_code
        except httpx.TimeoutException:
            raise NoticeError("it gave no answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError):
            raise NoticeError("no connection, no valid certificate, or no HTTP answer") from None
        if status in REDIRECTS:
            raise NoticeError(f"it answered {status}: redirects are not followed")
        if status not in SUCCESS:
            raise NoticeError(f"it answered {status}")


def routes_of(settings: NoticesSettings, folder: Path) -> tuple[Route, ...]:
    """Return everybody who is told.

    Args:
        settings: of the home.
        folder: the home, that relative paths are below.
    """
    mails: tuple[Route, ...] = ()
    if settings.mail is not None:
        mails = tuple(MailRoute(settings.mail, to, folder) for to in settings.mail.to)
    return (*mails, *(WebhookRoute(one, folder) for one in settings.webhook))


def _tls(folder: Path, authority: str) -> ssl.SSLContext:
    """Return a context that asks for a certificate: by the system's authorities, or one's own.

    Raises:
        NoticeError: the authority's file cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=str(folder / authority) if authority else None)
    except (OSError, ssl.SSLError):
        raise NoticeError("expected a PEM file as its authority, found none") from None


@contextmanager
def _mail_faults() -> Iterator[None]:
    """Say what failed in words of our own: a server's may hold anything."""
    try:
        yield
    except smtplib.SMTPAuthenticationError:
        raise NoticeError("the mail server refuses the user or the password") from None
    except smtplib.SMTPNotSupportedError:
        raise NoticeError(
            "the mail server offers no STARTTLS, or no log-in: nothing was sent"
        ) from None
    except smtplib.SMTPRecipientsRefused:
        raise NoticeError("the mail server refuses the recipient") from None
    except ssl.SSLError:
        raise NoticeError(
            "the mail server's certificate does not verify, or it has no TLS"
        ) from None
    except smtplib.SMTPException:
        raise NoticeError("the mail server refuses the message or the connection") from None
    except TimeoutError:
        raise NoticeError("the mail server gave no answer in time") from None
    except (OSError, ValueError):
        raise NoticeError("no connection to the mail server") from None
