"""The institution's own TOML files: read whole, every mistake said at once."""

import tomllib
from pathlib import Path
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieldfare.shared.errors import StudyError
from fieldfare.shared.mistakes import problem_lines

MAX_TOML_BYTES: Final = 1024 * 1024

PathText = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]


class Section(BaseModel):
    """A table of such a file: frozen, no unknown keys, no `"1"` or `true` for 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


S = TypeVar("S", bound=Section)


def parse_toml(text: str, model: type[S], name: str) -> S:
    """Parse TOML text into a validated `model`; `name` begins every line of an error.

    Raises:
        StudyError: the text is no TOML, or lists every mistake, one line each.
    """
    try:
        return model.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{name}: expected TOML: {error}") from None
    except ValidationError as error:
        raise StudyError([f"{name}: {line}" for line in problem_lines(error)]) from None
    except (ValueError, RecursionError):  # a number of thousands of digits; brackets as many
        raise StudyError(
            f"{name}: expected TOML, found a number too long or brackets too deep"
        ) from None


def load_toml(path: Path, model: type[S]) -> S:
    """Read and validate a file (UTF-8 TOML, at most 1 MiB).

    Raises:
        StudyError: unreadable, too large, or any mistake inside.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TOML_BYTES + 1)
    except OSError as error:
        raise StudyError(f"{path}: expected a readable file, found: {error.strerror}") from None
    if len(content) > MAX_TOML_BYTES:
        raise StudyError(f"{path}: expected at most {MAX_TOML_BYTES} bytes, found more")
    try:
        return parse_toml(content.decode("utf-8"), model, str(path))
    except UnicodeDecodeError:
        raise StudyError(f"{path}: expected UTF-8 text") from None
