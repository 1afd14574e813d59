"""What a node tells of itself to who watches it: how it hears the SuperLink, and what it carried.

It knows no content of a message, so it tells of none; how long a custodian took it does not tell.
"""

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from fieldfare.client.wire.tls import TlsTarget
from fieldfare.shared.errors import KeysError
from fieldfare.shared.protocol.flower_record import Call
from fieldfare.shared.system.certificates import valid_until
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import read_public
from fieldfare.shared.watch import metrics
from fieldfare.shared.watch.metrics import DAY, MetricSample, Probe

LATELY: Final = timedelta(seconds=60)  # a node asks every second
TRY_SECONDS: Final = 2.0
_CALLS: Final = {call.message_type: call.value for call in Call}


@dataclass
class NodeStatus:
    """What a node saw since it started; times with a time zone, None: not yet.

    Attributes:
        heard: when the SuperLink answered last.
        message: when a message arrived last.
        offset: the SuperLink's clock less this one, seconds, by its newest answer.
        messages: how many, by call and outcome.
    """

    clock: Callable[[], datetime] = utc_now
    heard: datetime | None = None
    message: datetime | None = None
    offset: float | None = None
    messages: Counter[tuple[str, str]] = field(default_factory=Counter)

    def note_heard(self, *, message: bool) -> None:
        """Note that the SuperLink answered, with a message perhaps."""
        self.heard = self.clock()
        if message:
            self.message = self.heard

    def note_outcome(self, message_type: str, outcome: str) -> None:
        """Count a message by what became of it."""
        self.messages[_CALLS.get(message_type, "other"), outcome] += 1

    def note_date(self, text: str) -> None:
        """Take the date of an answer (RFC 9110, section 6.6.1); what is none changes nothing."""
        try:
            said = parsedate_to_datetime(text).astimezone(UTC)
        except (ValueError, OverflowError):  # the last day of the year 9999, west of here
            return
        # Cut to the second, so that on the average it is half of one later.
        self.offset = (said - self.clock()).total_seconds() + 0.5


@dataclass(frozen=True)
class NodeMoment:
    """A node's state at one moment, as `node_samples` tells it.

    Attributes:
        authority_ends: when the SuperLink's authority ends.
    """

    now: datetime
    seen: NodeStatus
    authority_ends: datetime


def node_samples(moment: NodeMoment) -> Iterator[MetricSample]:
    """Yield what a node tells; every call and outcome, those of which there were none too."""
    seen = moment.seen
    if seen.offset is not None:
        yield MetricSample(metrics.CLOCK_OFFSET, seen.offset)
    days = (moment.authority_ends - moment.now) / DAY
    yield MetricSample(metrics.CERTIFICATE, days, ("authority",))
    yield MetricSample(metrics.NODE_CONNECTED, float(is_connected(seen, moment.now)))
    if seen.heard is not None:
        yield MetricSample(metrics.NODE_HEARD, seen.heard.timestamp())
    if seen.message is not None:
        yield MetricSample(metrics.NODE_MESSAGE, seen.message.timestamp())
    for call in metrics.CALLS:
        for outcome in metrics.OUTCOMES:
            yield MetricSample(metrics.NODE_MESSAGES, seen.messages[call, outcome], (call, outcome))


def is_connected(seen: NodeStatus, now: datetime) -> bool:
    """Tell whether the SuperLink answered lately."""
    return seen.heard is not None and now - seen.heard <= LATELY


def node_probes(seen: NodeStatus, custodian: Path | TlsTarget, now: datetime) -> tuple[Probe, ...]:
    """Return what a node needs: a SuperLink that answers, and a custodian that can be reached."""
    return (
        Probe("superlink", is_connected(seen, now), "it did not answer for a minute"),
        Probe("custodian", _listens(custodian), "nothing listens where it should"),
    )


def authority_ends(authority: bytes) -> datetime:
    """Return when the first of the authority's certificates ends."""
    return min(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(authority))


def present_samples(
    seen: NodeStatus, ends: datetime, custodian: Path | TlsTarget
) -> Iterator[MetricSample]:
    """Yield what a node tells now."""
    now = seen.clock()
    yield from node_samples(NodeMoment(now, seen, ends))
    if isinstance(custodian, TlsTarget):
        yield from link_samples(custodian, now)


def link_samples(custodian: TlsTarget, now: datetime) -> Iterator[MetricSample]:
    """Yield how many days the node's certificate of the link has, and the newest it trusts."""
    with suppress(KeysError):
        own = valid_until(read_public(custodian.files.certificate))
        trusted = valid_until(read_public(custodian.files.authority))
        yield MetricSample(metrics.CERTIFICATE, (own - now) / DAY, ("link",))
        yield MetricSample(metrics.CERTIFICATE, (trusted - now) / DAY, ("link_authority",))


def _listens(custodian: Path | TlsTarget) -> bool:
    """Connect and hang up: no call is made, and nothing is asked for."""
    try:
        if isinstance(custodian, Path):
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(TRY_SECONDS)
                link.connect(str(custodian))
        else:
            place = (custodian.host, custodian.port)
            socket.create_connection(place, TRY_SECONDS).close()
    except OSError:
        return False
    return True
