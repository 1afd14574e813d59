"""`coordinator.toml`: the coordinator's name, and the addresses where it listens."""

import ipaddress
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.identity import Contact, CoordinatorName
from fieldfare.shared.quiet_hours import QuietText
from fieldfare.shared.study.toml import Section, load_toml, parse_toml
from fieldfare.shared.system.addresses import (
    Host,
    HostPort,
    IpAddress,
    Port,
    ip_of,
    split_address,
)
from fieldfare.shared.system.first_settings import fill_toml
from fieldfare.shared.transcript.notes import COSIGNED, NoteKey, distinct_witnesses
from fieldfare.shared.watch.notice_settings import LONGEST_URL, checked_url

SETTINGS_FORMAT: Final = 1
DEFAULT_LOCAL_PORT: Final = 8001
DEFAULT_RETENTION: Final = 3650  # days
DEFAULT_PAUSE: Final = 60  # seconds
DEFAULT_WAIT: Final = 90.0  # seconds; a node that crashed comes back within 60
MOST_NAMES: Final = 100
MOST_PROXIES: Final = 16
MOST_WITNESSES: Final = 16
LONGEST_KEY: Final = 400


def _checked_key(text: str) -> str:
    try:
        NoteKey.from_text(text, COSIGNED)
    except ProtocolError as error:
        raise ValueError(str(error)) from None
    return text


class WitnessSection(Section):
    """A party outside the federation that signs the log of heads (C2SP tlog-witness).

    Attributes:
        url: that `/add-checkpoint` is below: https, or http to this machine.
        key: its verifier key, name+id+base64, compared with its people.
    """

    url: Annotated[str, Field(max_length=LONGEST_URL), AfterValidator(checked_url)]
    key: Annotated[str, Field(max_length=LONGEST_KEY), AfterValidator(_checked_key)]


class WitnessesSection(Section):
    """Everybody who signs the log of heads.

    Attributes:
        log: counts from 1; another one where a restored home is behind what witnesses signed.
        required: how many have to have signed a run's end before it is published as witnessed.
        witness: who they are.
    """

    log: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    required: Annotated[int, Field(ge=0, le=MOST_WITNESSES)] = 0
    witness: tuple[WitnessSection, ...] = Field(default=(), max_length=MOST_WITNESSES, strict=False)

    @model_validator(mode="after")
    def _enough_and_distinct(self) -> Self:
        if self.required > len(self.witness):
            raise ValueError(
                f"required: expected at most the {len(self.witness)} witnesses that are named, "
                f"found {self.required}"
            )
        try:
            distinct_witnesses(one.key for one in self.witness)
        except ProtocolError as error:
            raise ValueError(f"witness: {error}") from None
        return self


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version


class CoordinatorSettings(Section):
    """The whole file.

    Attributes:
        name: of the coordinator, as institutions see it.
        contact: how to reach its people; may be empty.
        address: host:port where nodes find it.
        names: further names or addresses that its certificate is good for.
        bind: host:port where it listens for nodes.
        proxies: addresses of proxies in front, which say by a PROXY header whom they pass on.
        local_port: port on the loopback address for this host's own commands.
        wait_seconds: how long a run waits for institutions whose nodes are not there.
        resume_runs: whether runs that failed or were interrupted go on by themselves.
        resume_seconds: pause before the first time; each one is four times the one before.
        quiet_hours: in which no run begins or goes on by itself.
        log_file: where `coordinator start` also writes its log, as JSON lines; empty: nowhere.
        watch: host:port where metrics and health are told (docs/watch.md); empty: nowhere.
        retention_days: how long the payloads of ended runs are kept; hashes stay for good.
        witnesses: outside the federation; there may be none.
    """

    format: Literal[1] = SETTINGS_FORMAT
    name: CoordinatorName
    contact: Contact = ""
    address: HostPort
    names: tuple[Host, ...] = Field(default=(), max_length=MOST_NAMES, strict=False)
    bind: HostPort
    proxies: tuple[IpAddress, ...] = Field(default=(), max_length=MOST_PROXIES, strict=False)
    local_port: Port = DEFAULT_LOCAL_PORT
    wait_seconds: Annotated[float, Field(ge=0, le=86_400, strict=False)] = DEFAULT_WAIT
    resume_runs: bool = True
    resume_seconds: int = Field(default=DEFAULT_PAUSE, ge=1, le=86_400)
    quiet_hours: QuietText = ""
    log_file: str = Field(default="", max_length=4096, pattern=r"^[^\x00]*$")
    watch: HostPort | Literal[""] = ""
    retention_days: Annotated[int, Field(ge=1, le=36500)] = DEFAULT_RETENTION
    witnesses: WitnessesSection = WitnessesSection()

    @model_validator(mode="after")
    def _two_ports(self) -> Self:
        if self.bind_port == self.local_port:
            raise ValueError(
                f"local_port: expected another port than {self.local_port}, where nodes are "
                "served, found the same"
            )
        return self

    @model_validator(mode="after")
    def _proxies_can_come(self) -> Self:
        bound = ip_of(self.bind_host)
        strange = [one for one in self.proxies if bound and _version(one) != bound.version]
        if bound and strange:
            raise ValueError(
                f"proxies: expected IPv{bound.version} addresses, the only ones that bind "
                f"takes, found {strange[0]}: change bind, or write how the proxy reaches it there"
            )
        return self

    @property
    def host(self) -> str:
        """The host name that nodes connect to, without the port."""
        return split_address(self.address)[0]

    @property
    def bind_host(self) -> str:
        """The address it listens at for nodes."""
        return split_address(self.bind)[0]

    @property
    def bind_port(self) -> int:
        """The port it listens at for nodes."""
        return split_address(self.bind)[1]

    @property
    def local_address(self) -> str:
        """host:port for this host's own commands."""
        return f"127.0.0.1:{self.local_port}"


def load_settings(home: CoordinatorHome) -> CoordinatorSettings:
    """Read `coordinator.toml`.

    Raises:
        StudyError: unreadable, or lists every mistake, one line each.
    """
    return load_toml(home.settings, CoordinatorSettings)


def settings_text(
    name: str,
    address: str,
    *,
    contact: str = "",
    names: tuple[str, ...] = (),
    bind: str = "",
    local_port: int = DEFAULT_LOCAL_PORT,
) -> str:
    """Return the file that `init` writes, with comments.

    Args:
        name: of the coordinator.
        address: host:port where nodes find it.
        contact: how to reach its people.
        names: further names of its certificate.
        bind: host:port to listen at; empty: every interface, at the address's port.
        local_port: for this host's own commands.

    Raises:
        StudyError: lists every mistake, one line each.
    """
    bind = bind or f"0.0.0.0:{address.rpartition(':')[2]}"  # nodes come from other hosts
    text = fill_toml(
        "fieldfare.server.home",
        "coordinator.toml",
        name=name,
        contact=contact,
        address=address,
        names=names,
        bind=bind,
        local_port=local_port,
        wait=DEFAULT_WAIT,
        pause=DEFAULT_PAUSE,
        retention=DEFAULT_RETENTION,
    )
    parse_toml(text, CoordinatorSettings, "coordinator")
    return text
