"""How an institution's column names map to a study's: a small TOML file.

    [columns]
    amount_in = "AMT_CR"      # the study's name = the file's name

A column that is not listed keeps its name.
"""

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from fieldfare.shared.errors import StudyError
from fieldfare.shared.features import Name
from fieldfare.shared.study import problem_lines


class ColumnMapping(BaseModel):
    """Study column names to source column names; identity where nothing is said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[Name, Name] = {}

    def source_of(self, column: str) -> str:
        """Return the source's name for the study's `column`."""
        return self.columns.get(column, column)


def load_mapping(path: Path) -> ColumnMapping:
    """Read and validate a mapping file.

    Raises:
        StudyError: unreadable, no TOML, or lists every mistake, one line each.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(f"{path}: a readable mapping file expected, {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: TOML expected: {error}") from None
    try:
        return ColumnMapping.model_validate(data)
    except ValidationError as error:
        raise StudyError([f"{path}: {line}" for line in problem_lines(error)]) from None
