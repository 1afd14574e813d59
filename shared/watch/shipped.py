"""The files that come with Fieldfare for who watches it: rules, settings, a dashboard."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from fieldfare.shared.errors import UsageError

RULES: Final = "fieldfare.rules.yaml"
DASHBOARD: Final = "dashboard.json"
SETTINGS: Final = "prometheus.yaml"
SHIPPED: Final = (RULES, SETTINGS, DASHBOARD)


def shipped_text(name: str) -> str:
    """Return one of the files; `name` is one of SHIPPED."""
    return (files("fieldfare.shared.watch") / "files" / name).read_text("utf-8")


def write_shipped(folder: Path) -> list[Path]:
    """Write all of them into a folder, which is made where it is not there.

    Raises:
        UsageError: one of that name is there and differs: somebody may have changed it.
    """
    given = {folder / name: shipped_text(name) for name in SHIPPED}
    for path, text in given.items():
        if path.exists() and path.read_text("utf-8", errors="replace") != text:
            raise UsageError(
                f"{path}: expected no file or this version's own, found another: it may be yours; "
                "move it away, or name another folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in given.items():
        path.write_text(text, "utf-8")
    return list(given)
