"""Where something listens: `host:port`, read strictly."""

import ipaddress
import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

LARGEST_PORT: Final = 65535
LONGEST_ADDRESS: Final = 300

_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_LONGEST_NAME: Final = 253  # RFC 1035 section 2.3.4, without the final dot


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of `host:port`; an IPv6 host stands in brackets and loses them.

    Raises:
        ValueError: another form; says which one is expected.
    """
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > LARGEST_PORT:
        raise ValueError(f"expected host:port with a port from 1 to {LARGEST_PORT}")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed and ip_of(host[1:-1]) is not None:
        return host[1:-1], int(port)
    if not is_host(host) or ":" in host:
        raise ValueError("expected a DNS name, an IPv4 address or [an IPv6 address] before :port")
    return host, int(port)


def is_host(text: str) -> bool:
    """Tell whether a text is an address, or a name that DNS could hold (RFC 1123 section 2.1)."""
    if ip_of(text) is not None:
        return True
    labels = text.split(".")
    if labels[-1].isdigit():  # neither an IPv4 address nor a name
        return False
    return len(text) <= _LONGEST_NAME and all(_LABEL.fullmatch(label) for label in labels)


def ip_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a text is, or None where it is a name."""
    try:
        return None if "%" in host else ipaddress.ip_address(host)  # a zone is this host's own
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, by its address or as `localhost`."""
    found = ip_of(host.strip("[]"))
    return host.lower() == "localhost" if found is None else found.is_loopback


def _checked_address(text: str) -> str:
    split_address(text)
    return text


def _plain_ip(text: str) -> str:
    found = ip_of(text)
    if found is None:
        raise ValueError("expected an IPv4 or IPv6 address")
    return str(found)


def _checked_host(text: str) -> str:
    if not is_host(text):
        raise ValueError("expected a DNS name or an address")
    return text


HostPort = Annotated[str, Field(max_length=LONGEST_ADDRESS), AfterValidator(_checked_address)]
Host = Annotated[str, Field(max_length=_LONGEST_NAME), AfterValidator(_checked_host)]
IpAddress = Annotated[str, Field(max_length=_LONGEST_NAME), AfterValidator(_plain_ip)]
Port = Annotated[int, Field(ge=1, le=LARGEST_PORT)]
