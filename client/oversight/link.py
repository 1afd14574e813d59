"""The way to the SuperLink, checked without signing on: name, port, certificate, clock.

One request is sent, for the page that says whether a server is well; any answer will do.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from cryptography import x509

from fieldfare.client.node.terms import NodeTerms
from fieldfare.client.oversight.preflight import Check, CheckInput, CheckNote, CheckOutcome
from fieldfare.shared.errors import RunError
from fieldfare.shared.system.addresses import split_address

SECONDS: Final = 10.0
PAGE: Final = "/health"
SOON: Final = timedelta(days=30)
CLOCK_WARNS: Final = 60.0  # seconds
CLOCK_FAILS: Final = 300.0  # seconds: further apart, Flower takes no node's signature


def link_checks(terms: CheckInput[NodeTerms]) -> Iterator[Check]:
    """Yield the checks of a node's link, from its name on."""
    reached = CheckInput("the connection", lambda: _reached(terms.need()))
    greeted = CheckInput("the certificate", lambda: _greeted(terms.need(), reached.need()))
    yield Check(
        "connection",
        lambda: f"{terms.need().superlink} answers at {reached.get()}",
        "compare superlink in node.toml with the coordinator; let this machine open that address "
        "in its firewall",
    )
    yield Check(
        "certificate",
        lambda: _lifetimes(terms.need(), greeted.get()),
        "expired or for another name: the coordinator must run `fieldfare coordinator renew "
        "certificate`; by another authority: get the coordinator's present invitation and join "
        "with it",
    )
    yield Check(
        "clock",
        lambda: judge_clock(_apart(terms.need(), greeted.need())),
        "set this machine's clock, by NTP for instance: the coordinator refuses a node whose "
        "clock is 300 s off",
    )


def judge_clock(apart: float | None) -> str | CheckNote:
    """Judge how many seconds this clock is ahead of the SuperLink's; None where it is not told."""
    if apart is None:
        return CheckNote(CheckOutcome.SKIP, "the SuperLink does not say its time")
    said = f"{abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} the SuperLink's"
    if abs(apart) > CLOCK_FAILS:
        return CheckNote(
            CheckOutcome.FAIL, f"expected at most {CLOCK_FAILS:.0f} s off, found {said}"
        )
    if abs(apart) > CLOCK_WARNS:
        return CheckNote(CheckOutcome.WARN, said)
    return f"within {max(1, round(abs(apart)))} s of the SuperLink's"


def judge_lifetime(ends: datetime, now: datetime, what: str) -> str | CheckNote:
    """Judge when a certificate ends."""
    if ends - now <= timedelta(0):
        return CheckNote(
            CheckOutcome.FAIL,
            f"{what}: expected one that is valid, found one that ended {ends:%Y-%m-%d}",
        )
    outcome = CheckOutcome.WARN if ends - now < SOON else CheckOutcome.PASS
    return CheckNote(outcome, f"{what} until {ends:%Y-%m-%d}")


def _reached(terms: NodeTerms) -> str:
    """Connect, and return the address that answered."""
    host, port = split_address(terms.superlink)
    try:
        with socket.create_connection((host, port), SECONDS) as link:
            address: str = link.getpeername()[0]
            return address
    except socket.gaierror:
        raise RunError(f"{host}: expected a name with an address, found none in DNS") from None
    except OSError as error:
        said = error.strerror or str(error)
        raise RunError(f"{terms.superlink}: expected an answer, found: {said}") from None


def _trust(terms: NodeTerms) -> ssl.SSLContext:
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.load_verify_locations(cadata=terms.authority.decode("ascii", errors="replace"))
    return trust


def _greeted(terms: NodeTerms, address: str) -> x509.Certificate:
    """Shake hands, and return the certificate that was shown and checked."""
    host, port = split_address(terms.superlink)
    try:
        with (
            socket.create_connection((address, port), SECONDS) as link,
            _trust(terms).wrap_socket(link, server_hostname=host) as checked,
        ):
            shown = checked.getpeercert(binary_form=True)
    except ssl.SSLError as error:
        said = getattr(error, "verify_message", "") or error.reason or str(error)
        raise RunError(
            f"{terms.superlink}: expected a certificate for {host} by the authority in node.toml, "
            f"found: {said}{_renewal(said)}"
        ) from None
    except OSError as error:
        raise RunError(f"{terms.superlink}: expected TLS, found: {error}") from None
    if shown is None:
        raise RunError(f"{terms.superlink}: expected a certificate, found none")
    return x509.load_der_x509_certificate(shown)


def _renewal(said: str) -> str:
    """Return who can renew an expired certificate: only the coordinator."""
    return (
        ": the coordinator must run `fieldfare coordinator renew certificate`"
        if "expired" in said
        else ""
    )


def _lifetimes(terms: NodeTerms, shown: x509.Certificate) -> str | CheckNote:
    """Say which ends first: the server's certificate, or its authority's."""
    now = datetime.now(UTC)
    authorities = x509.load_pem_x509_certificates(terms.authority)
    ends = [(shown.not_valid_after_utc, "the SuperLink's certificate holds")]
    ends += [(one.not_valid_after_utc, "the authority's certificate holds") for one in authorities]
    first, what = min(ends)
    return judge_lifetime(first, now, what)


def _apart(terms: NodeTerms, shown: x509.Certificate) -> float | None:
    """Return seconds that this clock is ahead of the SuperLink's, by its Date (RFC 9110, 6.6.1)."""
    del shown  # the certificate was checked before
    host, port = split_address(terms.superlink)
    connection = http.client.HTTPSConnection(host, port, timeout=SECONDS, context=_trust(terms))
    try:
        asked = time.time()
        connection.request("GET", PAGE)
        said = connection.getresponse().getheader("Date")
        here = (asked + time.time()) / 2
        there = None if said is None else parsedate_to_datetime(said).timestamp()
    except (http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    # A Date is whole seconds, cut off: half a second later on average.
    return None if there is None else here - (there + 0.5)
