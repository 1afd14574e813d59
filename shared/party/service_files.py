"""Service files: filled in, written below a root, recognised as ours, taken away again.

Each file's first line holds the hash of the rest, so that nobody's own change is lost: a file that
was edited is neither replaced nor removed unless somebody says so.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from fieldfare.shared.errors import UsageError

FOLDER: Final = Path(__file__).with_name("units")
PLACES: Final = {  # kind of file -> where the operating system looks for it
    "service": "etc/systemd/system/{}.service",
    "sysusers": "etc/sysusers.d/{}.conf",
    "tmpfiles": "etc/tmpfiles.d/{}.conf",
}
HEAD: Final = "# Written by fieldfare; change it with drop-ins. SHA-256 of what follows: "
PLAIN: Final = re.compile(r"/[A-Za-z0-9._/+-]*")  # no space, quote or %, which systemd would read
SHARED: Final = frozenset(map(Path, ("/var/lib", "/usr/lib", "/usr/bin", "/usr/local", "/var/log")))
NO_NETWORK: Final = "PrivateNetwork=yes\nIPAddressDeny=any\nRestrictAddressFamilies=AF_UNIX"
ANY_NETWORK: Final = "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX"
READABLE: Final = 0o644


class FileState(Enum):
    """What is there in a service file's place."""

    ABSENT = "absent"
    SAME = "as it would be written"
    OLDER = "written by fieldfare earlier"
    CHANGED = "changed by hand"


@dataclass(frozen=True)
class ServiceTerms:
    """What a role's service files are filled in with.

    Attributes:
        command: the path of `fieldfare`.
        home: the home of the custodian, or of the coordinator.
        node_home: the folder of the node's own settings and key.
        passphrase_file: what systemd hands to the process as its key's passphrase; None for none.
        network: whether the custodian reaches a database, or its node it, over the network.
    """

    command: Path
    home: Path
    node_home: Path = Path("/var/lib/fieldfare-node")
    passphrase_file: Path | None = None
    network: bool = False


@dataclass(frozen=True)
class ServiceFile:
    """A file to write.

    Attributes:
        place: below the root.
        content: all of it.
    """

    place: str
    content: bytes

    def state(self, root: Path) -> FileState:
        """Look at what is in its place."""
        try:
            found = (root / self.place).read_bytes()
        except FileNotFoundError:
            return FileState.ABSENT
        if found == self.content:
            return FileState.SAME
        head, _, rest = found.partition(b"\n")
        ours = head == HEAD.encode() + hashlib.sha256(rest).hexdigest().encode()
        return FileState.OLDER if ours else FileState.CHANGED


def own_command(interpreter: str, typed: str) -> Path:
    """Return the `fieldfare` beside an interpreter, by the path that was typed for it if it can be.

    A link such as /opt/fieldfare stays one in the unit: whoever moves it upgrades the service.

    Raises:
        UsageError: it lies where the service sees nothing.
    """
    beside, named = Path(interpreter).with_name("fieldfare"), Path(typed)
    same = named.is_absolute() and named.resolve() == beside.resolve()
    for found in (named, beside) if same else (beside,):
        if not any(map(_in_a_home, (found, found.resolve()))):  # nor does a link lead there
            return found
    raise UsageError(
        f"expected fieldfare outside of people's homes, which a service does not see, found "
        f"{beside}: install it below /opt, or say --command"
    )


def _in_a_home(path: Path) -> bool:
    return path.is_relative_to("/home") or path.is_relative_to("/root")


def service_files(parts: Iterable[str], terms: ServiceTerms) -> tuple[ServiceFile, ...]:
    """Return the files of some of "custodian", "node", "coordinator".

    Raises:
        UsageError: a path that systemd would not read as it stands.
    """
    filled = _filled(terms)
    return tuple(
        _file(place.format(f"fieldfare-{part}"), f"fieldfare-{part}.{kind}", filled)
        for part in parts
        for kind, place in PLACES.items()
    )


def _filled(terms: ServiceTerms) -> Mapping[str, str]:
    secret = terms.passphrase_file
    for path in filter(None, (terms.command, terms.home, terms.node_home, secret)):
        if not PLAIN.fullmatch(str(path)):
            raise UsageError(
                f"expected an absolute path of letters, digits and ._/+-, found {str(path)!r}"
            )
    for home in (terms.home, terms.node_home):
        if len(home.parts) < 3 or ".." in home.parts or home in SHARED:  # noqa: PLR2004 -- /a/b
            raise UsageError(
                f"expected a folder of its own such as /var/lib/fieldfare, found {home}: the "
                "service's user becomes its owner"
            )
    given = (
        f"LoadCredential=passphrase:{secret}\nEnvironment=FIELDFARE_PASSPHRASE_FILE=%d/passphrase"
    )
    return {
        "COMMAND": str(terms.command),
        "HOME": str(terms.home),
        "NODE_HOME": str(terms.node_home),
        "PASSPHRASE": given if secret else "",
        "NETWORK": ANY_NETWORK if terms.network else NO_NETWORK,
        "SHUT_IN": (FOLDER / "shut-in.conf").read_text(encoding="utf-8").rstrip("\n"),
    }


def _file(place: str, name: str, filled: Mapping[str, str]) -> ServiceFile:
    text = (FOLDER / name).read_text(encoding="utf-8")
    for word, value in filled.items():
        text = text.replace(f"@{word}@\n", f"{value}\n" if value else "")
        text = text.replace(f"@{word}@", value)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return ServiceFile(place, f"{HEAD}{digest}\n{text}".encode())


def write_service_files(files: Iterable[ServiceFile], root: Path, *, force: bool = False) -> None:
    """Write files below a root, all or, where one was changed by hand, none.

    Raises:
        UsageError: one was changed by hand and `force` is not set, or a link leads out of the root.
        OSError: a folder or the disk refuses it.
    """
    given = tuple(files)
    _check(given, root, force=force)
    for file in given:
        path = root / file.place
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.unlink(missing_ok=True)  # a crash's, or a link that leads elsewhere
        with fresh.open("xb") as content:
            content.write(file.content)
        fresh.chmod(READABLE)
        fresh.replace(path)


def remove_service_files(
    files: Iterable[ServiceFile], root: Path, *, force: bool = False
) -> tuple[str, ...]:
    """Remove what `write_service_files` wrote, also under other terms; return the places.

    Raises:
        UsageError: as above; nothing was removed.
        OSError: a folder or the disk refuses it.
    """
    given = tuple(files)
    _check(given, root, force=force)
    there = tuple(one.place for one in given if one.state(root) is not FileState.ABSENT)
    for place in there:
        (root / place).unlink()
    return there


def _check(files: Iterable[ServiceFile], root: Path, *, force: bool) -> None:
    for file in files:
        path = root / file.place
        if path.is_symlink() or not path.resolve().is_relative_to(root.resolve()):
            raise UsageError(f"{path}: expected a file below {root}, found a link: remove it first")
    changed = [one.place for one in files if one.state(root) is FileState.CHANGED]
    if changed and not force:
        raise UsageError(
            f"expected files that fieldfare wrote, found changed by hand: {', '.join(changed)}; "
            "move the changes into drop-ins (systemctl edit), or say --force"
        )


def next_steps(parts: Iterable[str], root: Path) -> tuple[str, ...]:
    """Return what an administrator types after the files were written."""
    units = " ".join(f"fieldfare-{part}.service" for part in parts)
    if root != Path("/"):
        return (f"in the image: systemctl preset or enable {units}",)
    return (
        "systemd-sysusers && systemd-tmpfiles --create",
        "systemctl daemon-reload",
        f"systemctl enable --now {units}",
    )


def shown(file: ServiceFile) -> str:
    """Return a file as `--dry-run` shows it."""
    return f"--- /{file.place}\n{file.content.decode()}"
