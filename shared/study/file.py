"""A study as a file: TOML in, a validated study out."""

from pathlib import Path

from pydantic import ValidationError

from fieldfare.shared.errors import StudyError
from fieldfare.shared.study.start import put_start
from fieldfare.shared.study.study import MAX_STUDY_BYTES, Study
from fieldfare.shared.study.toml import problem_lines, toml_data
from fieldfare.shared.system.private_files import read_at_most


def parse_study(text: str, beside: Path | None = None) -> Study:
    """Parse TOML text into a validated study.

    Args:
        text: of the file.
        beside: folder that may hold the public start that it names; those that come with
            Fieldfare are known without.

    Raises:
        StudyError: the text is no TOML, or lists every mistake, one line each.
    """
    data = toml_data(text)
    put_start(data, beside)
    try:
        return Study.model_validate(data)
    except ValidationError as error:
        raise StudyError(problem_lines(error)) from None


def load_study(path: Path) -> Study:
    """Read and validate a study file (UTF-8 TOML, at most 4 MiB).

    Raises:
        StudyError: unreadable file, too large, or any mistake inside.
    """
    content = read_at_most(path, MAX_STUDY_BYTES, StudyError)
    try:
        return parse_study(content.decode("utf-8"), path.parent)
    except UnicodeDecodeError:
        raise StudyError(f"{path}: expected UTF-8 text") from None
