"""A bare Debian 12 (its Python is 3.11) made by mmdebstrap, and users in it who install and run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
SUITE: Final = "bookworm"
USER: Final = "ada"
UID: Final = 1000
PLATFORMS: Final = [f"manylinux_2_{minor}_x86_64" for minor in range(17, 37)]
FLAGS: Final = (
    "--only-binary=:all:", "--python-version=3.11", "--implementation=cp", "--abi=cp311",
    "--abi=abi3", "--abi=none", "--platform=manylinux2014_x86_64",
    *(f"--platform={name}" for name in PLATFORMS),
)  # fmt: skip
SOURCES: Final = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
FOLDERS: Final = ("api", "shared", "client", "server", "simulations")


@dataclass(frozen=True)
class BareRoot:
    """A root.

    Attributes:
        path: of the root.
        wheels: a folder with what `fetch` brought, and the project's own wheel.
    """

    path: Path
    wheels: Path

    def run(
        self,
        command: Sequence[str],
        *,
        user: int = UID,
        network: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in the root, as an ordinary user without any right, or as root."""
        return subprocess.run(
            self.words(command, user=user, network=network, environment=environment),
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def words(
        self,
        command: Sequence[str],
        *,
        user: int = UID,
        network: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Return what runs a command in the root; to kill it kills all that it started."""
        words = ["bwrap", "--bind", str(self.path), "/", "--dev", "/dev", "--proc", "/proc"]
        words += ["--tmpfs", "/tmp", "--ro-bind", str(self.wheels), "/mnt", "--die-with-parent"]  # noqa: S108
        words += ["--unshare-pid", "--clearenv", "--setenv", "LANG", "C.UTF-8"]
        words += [] if network else ["--unshare-net"]
        own = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": f"/home/{USER}"}
        for name, value in {**own, **(environment or {})}.items():
            words += ["--setenv", name, value]
        if user:
            words += ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
            words += ["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
        return [*words, *command]

    def did(self, *command: str) -> str:
        """Return what a command of the ordinary user said; it ended well."""
        done = self.run(command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def lay(self, name: str, text: str) -> str:
        """Lay a file beside the wheels; return its path inside."""
        (self.wheels / name).write_text(text)
        return f"/mnt/{name}"

    def fetch(self, role: str, lock: str) -> None:
        """Bring a lock's wheels beside the root: inside there is no network."""
        self.lay(f"{role}.txt", lock)
        where = ["--dest", str(self.wheels), "--quiet", "--no-deps", "--require-hashes"]
        lines = ["-r", str(self.wheels / f"{role}.txt")]
        _did(sys.executable, "-m", "pip", "download", *where, *FLAGS, *lines)

    def install(self, role: str, *, compiled: bool = True) -> str:
        """Install a role by its lock, and the project, at /opt/fieldfare/ROLE; return its bin."""
        place = f"/opt/fieldfare/{role}"
        pip = (f"{place}/bin/pip", "install", "--quiet", "--no-index", "--no-compile")
        self.did("python3", "-m", "venv", place)
        self.did(*pip, "--find-links", "/mnt", "--require-hashes", "-r", f"/mnt/{role}.txt")
        (wheel,) = self.wheels.glob("fieldfare-*.whl")
        self.did(*pip, "--no-deps", f"/mnt/{wheel.name}")
        self.did(f"{place}/bin/pip", "check")
        if compiled:
            python = (f"{place}/bin/python", "-m", "compileall", "-q", "-x", "/tests/")
            self.did(*python, f"{place}/lib")
        return f"{place}/bin"

    def megabytes(self, place: str) -> int:
        """Return what a folder takes on the disk, in units of 1,000,000 bytes."""
        return int(self.did("du", "-s", "--block-size=MB", place).partition("MB")[0])


def bare_root(folder: Path) -> BareRoot:
    """Make a root and the project's wheel."""
    root, wheels, tree = folder / "root", folder / "wheels", folder / "tree"
    words = ["--quiet", "--variant=minbase", "--include=python3,python3-venv", "--format=directory"]
    _did("mmdebstrap", *words, SUITE, str(root))
    _did("useradd", "--root", str(root), "--uid", str(UID), "--create-home", USER)
    (root / "opt" / "fieldfare").mkdir()
    os.chown(root / "opt" / "fieldfare", UID, UID)
    folder.chmod(0o755)
    wheels.mkdir()
    tree.mkdir()
    for name in SOURCES:
        shutil.copy(ROOT / name, tree)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    words = ["--wheel", "--no-isolation", "--outdir", str(wheels), str(tree)]
    _did(sys.executable, "-m", "build", *words)
    return BareRoot(root, wheels)


def _did(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
