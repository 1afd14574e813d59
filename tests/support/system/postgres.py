"""A real PostgreSQL of Debian's packages, for as long as a test needs it."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import adbc_driver_postgresql.dbapi
import pytest
from tests.support.system.ports import free_port

PASSWORD = "SECRET-pw-4471"  # noqa: S105 -- of a server that lives for one test run


@dataclass(frozen=True)
class PostgresServer:
    """A server on a socket in `folder` and on a TCP port, which asks for a password."""

    folder: Path
    port: int
    password: str = PASSWORD
    control: tuple[str, ...] = ()

    @property
    def uri(self) -> str:
        return f"postgresql://fieldfare:{self.password}@127.0.0.1:{self.port}/postgres"

    def stop(self) -> None:
        _as_postgres(*self.control, "-m", "fast", "stop")

    def start(self) -> None:
        _as_postgres(*self.control, "-o", self.settings, "start")

    @property
    def settings(self) -> str:
        return f"-k {self.folder} -p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off"

    def execute(self, *statements: str) -> None:
        with (
            adbc_driver_postgresql.dbapi.connect(self.uri, autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)

    def ingest(self, tables: Mapping[str, Any]) -> None:
        """Make a table of each Arrow table."""
        with (
            adbc_driver_postgresql.dbapi.connect(self.uri, autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            for name, rows in tables.items():
                cursor.adbc_ingest(name, rows)

    def value(self, query: str) -> Any:
        with (
            adbc_driver_postgresql.dbapi.connect(self.uri) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(query)
            row = cursor.fetchone()
            return row and row[0]


def _as_postgres(*command: str) -> None:
    """Run a command as a user that PostgreSQL accepts: it refuses root."""
    if os.geteuid() == 0:
        command = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command)
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{command[-1]}: {done.stdout}{done.stderr}")


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Start a server of Debian's packages; skip where they are not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL under /usr/lib/postgresql: apt-get install postgresql")
    binaries = found[-1].parent
    folder = Path(mkdtemp(prefix="fieldfare-pg-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        data, log, port = folder / "data", folder / "log", free_port()
        _as_postgres(
            str(binaries / "initdb"), "-D", str(data), "-U", "fieldfare", "-A", "scram-sha-256",
            f"--pwfile={folder / 'password'}", "-N", "--locale=C.UTF-8", "-E", "UTF8",
        )  # fmt: skip
        control = (str(binaries / "pg_ctl"), "-D", str(data), "-w", "-l", str(log))
        server = PostgresServer(folder, port, control=control)
        server.start()
        try:
            yield server
        finally:
            _as_postgres(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
