"""The first text of a settings file: a room's TOML with its values filled in."""

from importlib import resources

import tomlkit

Value = str | float | tuple[str, ...]


def fill_toml(room: str, file: str, /, **values: Value) -> str:
    """Return a file of a room, with the value of each `{key}` as TOML writes it.

    Args:
        room: the module that holds the file.
        file: its name; comments say what a person may change.
        values: texts are quoted, several texts become an array.
    """
    text = (resources.files(room) / file).read_text(encoding="utf-8")
    return text.format_map({key: _write(value) for key, value in values.items()})


def _write(value: Value) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_write, value))}]"
    return tomlkit.string(value).as_string() if isinstance(value, str) else str(value)
