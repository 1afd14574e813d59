"""An institution's declaration about a source: a small TOML file.

    encoding = "latin-1"      # of a CSV file; UTF-8 where nothing is said
    separator = ";"           # of a CSV file; else the header line shows it
    decimal = ","             # 1234,5
    thousands = "."           # 1.234,5

    [columns]
    amount_in = "AMT_CR"      # the study's name = the source's name

    [dates]
    OPENED = "%d.%m.%Y"       # a source's column of dates (or "iso"): none may be of the future

A column that is not listed keeps its name.
"""

import codecs
import re
import tomllib
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from fieldfare.shared.errors import StudyError
from fieldfare.shared.features.features import Name
from fieldfare.shared.study.toml import problem_lines
from fieldfare.shared.system.private_files import open_regular

UTF8: Final = "utf-8"
ISO_DATES: Final = "iso"  # 2025-01-31, with or without a time of day
ID_FORM: Final = r"^([+-]?\d+)[.]0+$"  # a whole number that was written as a broken one
_SPACES: Final = r"[ \x{00a0}\x{2009}\x{202f}]"
# Of names, of source code, of mail: they can write halves of characters, and lines over lines.
_NO_TEXTS: Final = frozenset({"utf7", "punycode", "idna", "unicodeescape", "rawunicodeescape"})
_DATE_FORM: Final = re.compile(r"([^%]|%[-]?[aAbBdmyYHIpMSfzjF%T])+")


@dataclass(frozen=True)
class Numerals:
    """How texts write numbers: 1234.5, or as declared 1.234,5 or 1 234,5.

    Attributes:
        decimal: `.` or `,`.
        thousands: the character that may stand between groups of three digits; empty for nothing. A
            space stands for every space that is written there, the narrow and unbreakable too.
    """

    decimal: str = "."
    thousands: str = ""

    @property
    def plain(self) -> bool:
        """Whether numbers are written as SQL writes them."""
        return self == Numerals()

    @property
    def doubtful(self) -> tuple[str, ...]:
        """Signs without which a number is read by its decimal sign alone."""
        other = "." if self.decimal == "," else ","
        return tuple(sorted({other, self.thousands} - {""}))

    @property
    def between(self) -> str:
        """A regular expression (RE2) for the separator of thousands."""
        return _SPACES if self.thousands == " " else f"[{self.thousands}]"

    @property
    def form(self) -> str:
        """A regular expression (RE2) for a whole number text."""
        grouped = rf"|\d{{1,3}}({self.between}\d{{3}})+" if self.thousands else ""
        return rf"[+-]?(\d+{grouped})?([{self.decimal}]\d*)?([eE][+-]?\d+)?"


PLAIN: Final = Numerals()


class SourceMapping(BaseModel):
    """Names of a source's columns and the form of its texts; identity where nothing is said.

    Attributes:
        columns: study column names to source column names.
        dates: source columns of dates, each with `iso` or a form as in strptime(3); looked at
            by `records check` alone.
        decimal: the character between a number's whole part and the rest, in texts.
        thousands: the character that may stand between groups of three digits, in texts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[Name, Name] = {}
    dates: dict[Name, Name] = {}
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", "'", " "] = ""

    @field_validator("dates")
    @classmethod
    def _written(cls, dates: dict[str, str]) -> dict[str, str]:
        for column, form in dates.items():
            if form != ISO_DATES and ("%" not in form or not _DATE_FORM.fullmatch(form)):
                raise ValueError(f'{column}: expected "iso" or a form such as "%d.%m.%Y"')
        return dates

    @field_validator("thousands")
    @classmethod
    def _different(cls, thousands: str, info: ValidationInfo) -> str:
        if thousands == info.data.get("decimal"):
            raise ValueError("expected another character than decimal")
        return thousands


class ColumnMapping(SourceMapping):
    """Names of a source's columns and the form of its texts, CSV included.

    Attributes:
        encoding: of CSV, by any name that Python's codecs know.
        separator: of CSV; empty where the header line shows it.
    """

    encoding: str = UTF8
    separator: str = ""

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        unknown = ValueError(
            "expected an encoding that Python knows, such as latin-1, cp1252 or utf-16"
        )
        try:
            b"a".decode(
                encoding, "replace"
            )  # also refuses codecs that are none of texts, such as hex
            name = codecs.lookup(encoding).name
            codecs.getincrementaldecoder(name)
        except (LookupError, UnicodeError, ValueError):
            raise unknown from None
        if re.sub("[-_]", "", name) in _NO_TEXTS:
            raise ValueError(f"expected an encoding of tables, found {name}; write it as UTF-8")
        return UTF8 if name == "utf-8-sig" else name  # a byte order mark is always tolerated

    @field_validator("separator")
    @classmethod
    def _one_sign(cls, separator: str) -> str:
        if len(separator) > 1 or separator in {'"', "\n", "\r", "\0"}:
            raise ValueError("expected one character that is no quote and no end of a line")
        return separator

    @property
    def numerals(self) -> Numerals:
        """How texts write numbers."""
        return Numerals(self.decimal, self.thousands)

    def source_of(self, column: str) -> str:
        """Return the source's name for the study's `column`."""
        return self.columns.get(column, column)

    def only(self, columns: set[str]) -> "ColumnMapping":
        """Return the same for those study `columns` alone: one source may serve many studies."""
        kept = {name: source for name, source in self.columns.items() if name in columns}
        return self.model_copy(update={"columns": kept})


def load_mapping(path: Path) -> ColumnMapping:
    """Read and validate a mapping file.

    Raises:
        StudyError: unreadable, no TOML, or lists every mistake, one line each.
    """
    try:
        with open_regular(path) as file:
            data = tomllib.loads(file.read().decode("utf-8"))
    except OSError as error:
        raise StudyError(
            f"{path}: expected a readable mapping file, found: {error.strerror}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: expected TOML: {error}") from None
    try:
        return ColumnMapping.model_validate(data)
    except ValidationError as error:
        raise StudyError([f"{path}: {line}" for line in problem_lines(error)]) from None


def canonical_id(text: str) -> str:
    """Return a unit's id as a source's is read, where a person wrote it."""
    return re.sub(ID_FORM, r"\1", unicodedata.normalize("NFC", text.strip()))
