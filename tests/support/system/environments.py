"""Environments of Python beside the one that runs the tests, with what is installed in it."""

import sys
import sysconfig
from pathlib import Path
from typing import Final

VERSION: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"


def environment(folder: Path, python: str, *further: Path) -> Path:
    """An environment of an interpreter that finds the packages of this one, and in `further`.

    Returns:
        Its interpreter; beside it is its `fieldfare`.
    """
    packages = folder / "lib" / VERSION / "site-packages"
    packages.mkdir(parents=True)
    ours = sysconfig.get_path("purelib")
    lines = [f"import site; site.addsitedir({ours!r})", *map(str, further)]
    (packages / "ours.pth").write_text("\n".join(lines) + "\n")
    made, program = folder / "bin" / "python", folder / "bin" / "fieldfare"
    made.parent.mkdir()
    made.symlink_to(Path(python).resolve())
    (folder / "pyvenv.cfg").write_text(f"home = {Path(python).resolve().parent}\n")
    program.write_text(f"#!{made}\nfrom fieldfare.shared.cli.root import main\n\nmain()\n")
    program.chmod(0o755)
    return made
