"""The files that come with Fieldfare for who watches it: rules, settings, a dashboard."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from fieldfare.shared.errors import UsageError
from fieldfare.shared.watch.exposition import write_textfile

RULES: Final = "fieldfare.rules.yaml"
DASHBOARD: Final = "dashboard.json"
SETTINGS: Final = "prometheus.yaml"
FOLDER: Final = 0o755
SHIPPED: Final = (RULES, SETTINGS, DASHBOARD)


def shipped_text(name: str) -> str:
    """Return one of the files; `name` is one of SHIPPED."""
    return (files("fieldfare.shared.watch") / "files" / name).read_text("utf-8")


def write_shipped(folder: Path) -> list[Path]:
    """Write all of them into a folder, which is made where it is not there.

    Raises:
        UsageError: one of that name is there and differs: somebody may have changed it.
        OSError: the disk or a folder refuses it.
    """
    given = {folder / name: shipped_text(name) for name in SHIPPED}
    for path, text in given.items():
        if path.exists() and path.read_text("utf-8", errors="replace") != text:
            raise UsageError(
                f"{path}: expected no file or this version's own, found another: it may be yours; "
                "move it away, or name another folder"
            )
    for one in [above for above in (*reversed(folder.parents), folder) if not above.exists()]:
        one.mkdir(FOLDER)
        one.chmod(FOLDER)  # whatever the umask says: who changes a rule silences an alert
    for path, text in given.items():
        write_textfile(path, text.encode())
    return list(given)
