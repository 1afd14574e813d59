"""`make locks`: write the lock of every role anew, from what the index has today.

uv resolves each role for both machines; where they need different lines, the line says for which.
The same index gives the same bytes: no header, no path, no index, nothing of the former lock.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
LOCKS: Final = ROOT / "locks"  # roles' are links into the wheel; the site's is a checkout's alone
PYTHON: Final = "3.11"
MACHINES: Final = {
    "x86_64": "x86_64-manylinux_2_28",
    "aarch64": "aarch64-manylinux_2_28",
}
EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "auditor": ("auditor",),
    "coordinator": ("coordinator",),
    "docs": ("demo", "docs"),
    "institution": ("institution",),
    "lab": ("lab", "torch"),
    "node": ("node",),
}


def requirements(role: str, platform: str) -> dict[str, str]:
    """Return what a role needs on one platform: `NAME==VERSION` -> its whole entry."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "lock.txt"
        command = [
            sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet",
            "--no-config", "--no-header", "--no-annotate", "--generate-hashes",
            "--python-version", PYTHON,
            "--python-platform", platform, "--output-file", str(out),
            *(word for extra in EXTRAS[role] for word in ("--extra", extra)),
        ]  # fmt: skip
        own = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
        subprocess.run(command, cwd=ROOT, env=own, check=True)
        return dict(_entries(out.read_text()))


def _entries(text: str) -> Iterator[tuple[str, str]]:
    for entry in text.replace("\\\n", "\x00").splitlines():
        yield entry.partition(" ")[0], entry.replace("\x00", "\\\n")


def merged(by_machine: Mapping[str, Mapping[str, str]]) -> str:
    """Return one lock for all machines; lines that not all have name theirs."""
    lines = []
    for pin in sorted({pin for found in by_machine.values() for pin in found}):
        having = [machine for machine, found in by_machine.items() if pin in found]
        entry = by_machine[having[0]][pin]
        if len(having) < len(by_machine):
            (machine,) = having
            entry = entry.replace(pin, f'{pin} ; platform_machine == "{machine}"', 1)
        lines.append(entry)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write every lock."""
    for role in EXTRAS:
        found = {machine: requirements(role, name) for machine, name in MACHINES.items()}
        (LOCKS / f"{role}.txt").write_text(merged(found))
        sys.stdout.write(f"{role}: {len(found['x86_64'])} packages\n")


if __name__ == "__main__":
    main()
