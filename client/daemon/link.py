"""The custodian's end of the link: renews what is due while it serves, and signs for its node."""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from threading import Lock

from fieldfare.client.home.layout import Home
from fieldfare.client.home.link import link_days, link_files, look_after_link, sign_for_node
from fieldfare.client.home.settings import CustodianSection
from fieldfare.client.wire import link
from fieldfare.client.wire.service import Service
from fieldfare.client.wire.tls import TlsPort
from fieldfare.shared.errors import FieldfareError, KeysError
from fieldfare.shared.system.addresses import split_address
from fieldfare.shared.watch import metrics
from fieldfare.shared.watch.metrics import DAY, MetricSample

log = logging.getLogger(__name__)


class LinkKeeper:
    """Looks after the link of a custodian that listens at a port."""

    def __init__(
        self, home: Home, settings: CustodianSection, clock: Callable[[], datetime]
    ) -> None:
        """Make or renew nothing yet: `begin` does, and then `look`."""
        self._home, self._settings, self._clock = home, settings, clock
        self._looked: datetime | None = None
        self._signed: datetime | None = None
        self._trouble = ""
        self._signing = Lock()

    def begin(self) -> TlsPort:
        """Renew what is due, and return where to listen.

        Raises:
            UsageError: no authority was made here: no port is opened without one.
            KeysError: a file of the link is damaged.
            OSError: the disk refuses it.
        """
        self._renew(self._clock())
        host, port = split_address(self._settings.listen)
        return TlsPort(host, port, link_files(self._home), link.NODE_NAME, self._clock)

    def look(self) -> None:
        """Renew what is due, once an hour; what fails is said, and what was in use stays so."""
        now = self._clock()
        if self._looked is not None and abs(now - self._looked) < link.LOOK_EVERY:
            return
        found = ""
        try:
            self._renew(now)
        except (FieldfareError, OSError) as error:
            found = str(error)
        self._looked = now
        if found != self._trouble and found:
            log.warning("the link was not renewed, the former certificate stays in use: %s", found)
        self._trouble = found

    def samples(self) -> Iterator[MetricSample]:
        """Yield how many days are left, where the files can be read."""
        with suppress(KeysError):
            ends, now = link_days(self._home), self._clock()
            yield MetricSample(metrics.CERTIFICATE, (ends.custodian - now) / DAY, ("link",))
            left = (ends.authority - now) / DAY
            yield MetricSample(metrics.CERTIFICATE, left, ("link_authority",))

    def service(self) -> Service:
        """Return the call by which the node's certificate is renewed."""
        return Service(
            name=link.LINK_SERVICE,
            answers={link.RENEW_CALL: self.answer},
            largest={link.RENEW_CALL: link.LARGEST_LINK_FRAME},
            frame=link.LARGEST_LINK_FRAME,
        )

    def answer(self, frame: bytes) -> bytes:
        """Answer the node: a certificate where it asks for one, at most one a day; whom to trust.

        Raises:
            ProtocolError, KeysError: no question, or a request that cannot be signed.
        """
        asked, now = link.RenewalQuestion.from_bytes(frame).request, self._clock()
        with self._signing:
            since = None if self._signed is None else abs(now - self._signed)
            if asked and since is not None and since < link.ASK_EVERY:
                asked = ""
            told = sign_for_node(self._home, asked.encode(), now)
            if asked:
                self._signed = now
                log.info("a new certificate was signed for the node")
        return told.to_bytes()

    def _renew(self, now: datetime) -> None:
        for line in look_after_link(self._home, self._settings.known_as, now):
            log.info("link: %s", line)
        self._looked = now
