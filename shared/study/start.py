"""The public start that a study names: its file, held to its hash, filled in where it is read."""

import base64
import re
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import StudyError
from fieldfare.shared.features.public_start import (
    MOST_START_BYTES,
    NAME_PATTERN,
    PublicStart,
    start_from,
)
from fieldfare.shared.system.private_files import read_at_most

MOST_START_TEXT: Final = 4 * MOST_START_BYTES // 3 + 4  # base64
FOLDER: Final = "starts"  # beside this module: those that come with Fieldfare


def start_in(start: str | None, hashed: str | None, text: str | None) -> PublicStart | None:
    """Return the public start that a study holds; None where it names none.

    Args:
        start: its name.
        hashed: SHA-256 of its file, hex: whoever has another file has another study.
        text: base64 of the file.

    Raises:
        StudyError: some of them are missing, another file, or no start.
    """
    if start is None and hashed is None and text is None:
        return None
    if start is None or hashed is None or text is None:
        raise StudyError(
            "start: expected start with start_hash and start_file, found some of them: put "
            "NAME.safetensors beside the study's file"
        )
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        raise StudyError("start_file: expected base64, found another text") from None
    found = bytes_hash(content)
    if found != hashed:
        raise StudyError(f"start_hash: expected {hashed}, found a start with {found}")
    return start_from(content)


def put_start(data: dict[str, Any], beside: Path | None) -> None:
    """Fill in the file of the public start that a study's TOML names, and its hash.

    Args:
        data: the study's, as TOML gives it; changed in place.
        beside: folder of the study's file, or None.

    Raises:
        StudyError: there is no such file.
    """
    training = data.get("training")
    if not isinstance(training, dict):
        return
    named = training.get("start")
    if not isinstance(named, str) or not re.fullmatch(NAME_PATTERN, named):
        return  # nothing is named, or validation says what is wrong
    if "start_file" not in training:
        content = start_file(named, beside)
        training["start_file"] = base64.b64encode(content).decode()
        training.setdefault("start_hash", bytes_hash(content))


def start_file(named: str, beside: Path | None = None) -> bytes:
    """Return the file of a public start: beside a study, or of those that come with Fieldfare.

    Raises:
        StudyError: there is no such file.
    """
    name = f"{named.partition(':')[2]}.safetensors"
    if beside is not None and (beside / name).is_file():
        return read_at_most(beside / name, MOST_START_BYTES, StudyError)
    shipped = files(__package__).joinpath(FOLDER, name)
    if not shipped.is_file():
        raise StudyError(
            f"training.start: expected {name} beside the study, or a start that comes with "
            "Fieldfare, found neither: make it with `fieldfare world start`"
        )
    return shipped.read_bytes()
