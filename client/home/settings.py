"""`institution.toml`: name, sources of records, and the group that may reach the custodian."""

from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from fieldfare.client.home.layout import Home
from fieldfare.client.ledger.budget import MAX_NAME
from fieldfare.client.records.settings import RecordsSource, one_unit, own_unit
from fieldfare.client.scoring.selection import BELOW_LINE_SHARE, ExcludedGroup
from fieldfare.client.typologies.family import Family
from fieldfare.shared.features.features import Name
from fieldfare.shared.protocol.roster import COORDINATOR, RESERVED, InstitutionId
from fieldfare.shared.study.toml import RetiredKey, Section, load_toml, parse_toml
from fieldfare.shared.system.addresses import Host, HostPort, ip_of, split_address
from fieldfare.shared.system.first_settings import fill_toml

SETTINGS_FORMAT: Final = 1
MAX_SOURCES: Final = 1000
MAX_EXCLUDED: Final = 32
MAX_NAMES: Final = 16
STOP_SECONDS: Final = 40.0  # of a custodian, in which a sum in work is finished (service.py)

CodeText = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,50}$")]


class CustodianSection(Section):
    """The custodian's sockets.

    Attributes:
        socket: the data plane's, for the node; empty: run/custodian.sock.
        group: the Unix group that may open the data plane's; empty: the user's own.
        listen: host:port in the socket's place, where the node is on another machine: under TLS
            with certificates on both sides, or not at all; empty: the socket.
        names: DNS names and addresses by which that node reaches it, beside the host in `listen`.
    """

    socket: str = Field(default="", max_length=107)  # sun_path in unix(7), less its final zero
    group: str = Field(default="", max_length=32, pattern=r"^([A-Za-z_][A-Za-z0-9_.-]*)?$")
    listen: HostPort | Literal[""] = ""
    names: tuple[Host, ...] = Field(default=(), max_length=MAX_NAMES, strict=False)

    RETIRED: ClassVar = {
        "admin_socket": RetiredKey("", "it is run/admin.sock of the home; take the line out")
    }

    @property
    def known_as(self) -> tuple[str, ...]:
        """The names that the custodian's certificate is for; none without `listen`."""
        if not self.listen:
            return ()
        host, _ = split_address(self.listen)
        found = ip_of(host)
        own = () if found is not None and found.is_unspecified else (host,)
        # Addresses as a certificate says them: else it would be made anew at each look.
        return tuple(dict.fromkeys(str(ip_of(name) or name) for name in (*self.names, *own)))

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.listen and not self.known_as:
            raise ValueError(
                "listen is every address of this machine: expected names by which the node reaches "
                'it, found none: names = ["custodian.example.org"]'
            )
        if self.listen and (self.socket or self.group):
            raise ValueError("expected listen, or socket and group, found both: the node has one")
        return self


class LedgerSection(Section):
    """The ledger.

    Attributes:
        witness: the file that remembers how far the ledger went; empty: beside it. It belongs
            on another disk or host: a backup that brings back both is not noticed by it.
    """

    witness: str = Field(default="", max_length=4096, pattern=r"^[^\x00]*$")


class AlertsSection(Section):
    """The rules that make a queue of a model's ranking (docs/scoring.md).

    Attributes:
        budget: alerts that people can look at; 0: the study's share of units.
        below_line: further units at random, as a share of the alerts: what the model misses.
        quiet_days: how long after a decision a unit is not alerted again.
        excluded: groups that are never ranked, alerted or shown, beside suppression.csv.
        families: family of features that are not called after an indicator; none is evidence.
        indicator_codes: your FIU's codes in reports, by indicator.
        due_days: how long people have for an alert.
        entries: a folder of canonical records, from which `score` keeps the entries of customers
            with an alert, encrypted; empty: a card has no statement.
        entries_days: how long it keeps them; `keep_days`: how long alerts and comments are kept
            after an alert was closed, or last came out of a scoring where nobody closed it.
    """

    budget: int = Field(default=0, ge=0, le=10_000_000)
    below_line: float = Field(default=BELOW_LINE_SHARE, ge=0, le=1)
    quiet_days: int = Field(default=30, ge=0, le=3650)
    excluded: tuple[ExcludedGroup, ...] = Field(default=(), max_length=MAX_EXCLUDED, strict=False)
    families: dict[Name, Annotated[Family, Field(strict=False)]] = Field(default={})
    indicator_codes: dict[Name, CodeText] = Field(default={})
    due_days: int = Field(default=14, ge=0, le=3650)
    entries: str = Field(default="", max_length=4096, pattern=r"^[^\x00]*$")
    entries_days: int = Field(default=180, ge=1, le=3650)
    keep_days: int = Field(default=1825, ge=1, le=36_500)

    RETIRED: ClassVar = {
        "suppression": RetiredKey(
            "", "the list is suppression.csv of the home: move it there, then take the line out"
        )
    }

    @field_validator("excluded")
    @classmethod
    def _have_names(cls, groups: tuple[ExcludedGroup, ...]) -> tuple[ExcludedGroup, ...]:
        if len({one.name for one in groups}) != len(groups):
            raise ValueError("expected each group under a name of its own, found one twice")
        return groups


class CaseworkSection(Section):
    """The folder where a group decides on alerts (docs/institution.md, "Several persons").

    Attributes:
        folder: made by `fieldfare institution casework make`; empty: in the home, for one user.
    """

    folder: str = Field(default="", max_length=4096, pattern=r"^[^\x00]*$")


class ConsoleSection(Section):
    """What a console may have done here (docs/console.md, "Decide in a browser").

    Attributes:
        decides: persons who have a second factor at the desk may approve, reject and withdraw
            studies in a browser; else the pages say the command.
    """

    decides: bool = False


class WatchSection(Section):
    """How the custodian tells who watches it how it is (docs/watch.md).

    Attributes:
        textfile: a file for node exporter's textfile collector, ending in .prom; empty: none.
        log_file: where `institution start` also writes its log, as JSON lines; empty: nowhere.
    """

    textfile: str = Field(default="", max_length=4096, pattern=r"^([^\x00]*\.prom)?$")
    log_file: str = Field(default="", max_length=4096, pattern=r"^[^\x00]*$")


class PartitionsSection(Section):
    """By how many processes this institution's records are added up, and in which memory.

    Attributes:
        workers: processes; 0: as many as cores, for 200,000 units and more; 1: the custodian's.
        memory: megabytes that they may keep together beside mapped files.
        resume: whether what an interrupted load had read waits on the disk for the next one.
    """

    workers: int = Field(default=0, ge=0, le=256)
    memory: int = Field(default=1024, ge=64, le=1_000_000)
    resume: bool = False


class HomeSettings(Section):
    """The whole file.

    Attributes:
        id: as on the roster.
        population: whose budget the ledger keeps (docs/design.md, "The ledger"): it belongs
            to a population of units and outlives every extract of them.
        records: where they are, and whom they are about; never copied, never written.
    """

    format: Literal[1] = SETTINGS_FORMAT
    id: InstitutionId
    population: str = Field(default="", max_length=MAX_NAME, validate_default=True)
    records: tuple[RecordsSource, ...] = Field(default=(), max_length=MAX_SOURCES, strict=False)
    custodian: CustodianSection = CustodianSection()
    ledger: LedgerSection = LedgerSection()
    alerts: AlertsSection = AlertsSection()
    casework: CaseworkSection = CaseworkSection()
    console: ConsoleSection = ConsoleSection()
    watch: WatchSection = WatchSection()
    partitions: PartitionsSection = PartitionsSection()

    _one_unit = field_validator("records")(one_unit)

    @property
    def unit(self) -> str | None:
        """The column of the population's ids, by the studies' name."""
        return own_unit(self.records)

    @field_validator("id")
    @classmethod
    def _may_name_an_institution(cls, name: str) -> str:
        if name in RESERVED or not name.isprintable() or name != name.strip():
            raise ValueError(
                "expected printable characters without spaces around them, other than "
                f'"{COORDINATOR}", found something else'
            )
        return name

    @field_validator("population")
    @classmethod
    def _own_by_default(cls, population: str, info: ValidationInfo) -> str:
        if not population.isprintable():
            raise ValueError("expected printable characters, found others")
        return population or str(info.data.get("id", ""))


def load_settings(home: Home) -> HomeSettings:
    """Read `institution.toml`.

    Raises:
        StudyError: unreadable, or lists every mistake, one line each.
    """
    return load_toml(home.settings, HomeSettings)


def witness_path(home: Home, settings: HomeSettings) -> Path:
    """Return where the ledger's witness is."""
    named = settings.ledger.witness
    return home.resolve(named) if named else home.ledger.with_name(home.ledger.name + ".witness")


def custodian_socket_path(home: Home, settings: HomeSettings) -> Path:
    """Return where the data plane's socket is."""
    named = settings.custodian.socket
    return home.resolve(named) if named else home.custodian_socket


def settings_text(institution: str) -> str:
    """Return the file that `init` writes, with comments on the fields to fill in.

    Raises:
        StudyError: `institution` may not name an institution.
    """
    text = fill_toml("fieldfare.client.home", "institution.toml", name=institution)
    parse_toml(text, HomeSettings, "institution")
    return text
