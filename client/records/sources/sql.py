"""SQL for one column: its number, its text, the date in it. Each value is read by itself."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from enum import Enum
from typing import Final

from fieldfare.client.records.sources.mapping import ID_FORM, ISO_DATES, PLAIN, Numerals

WHITESPACE: Final = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
MISSING: Final = "CAST('nan' AS DOUBLE)"
_DIGESTED: Final = 8  # columns
DATE_FINE, DATE_FUTURE, DATE_NONE = range(3)

_FLOATS: Final = frozenset({"FLOAT", "DOUBLE"})
_NUMBERS: Final = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|U?INTEGER|DECIMAL\(.*\)")
_DATES: Final = re.compile(r"DATE|TIMESTAMP.*")
_LIST: Final = re.compile(r"(FLOAT|DOUBLE|DECIMAL\(\d+,\d+\))\[\d*\]")
_OPAQUE: Final = re.compile(
    r"BLOB|BIT|VARIANT|GEOMETRY|(STRUCT|MAP|UNION)\(.*|.*\[\d*\]", re.DOTALL
)
_OFFSET: Final = r":[0-9.]+ ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"  # after a time of day


class ColumnType(Enum):
    """The kinds as which a source column can be read, decided without its values."""

    NUMBER = "number"
    FLOAT = "float"  # a number that may be NaN
    BOOLEAN = "boolean"
    DATE = "date"  # also with a time of day
    TEXT = "text"  # everything else, through its text form
    LIST = "list of numbers"  # read by models of vectors only
    OPAQUE = "binary or nested"  # never read (harm rule 6)

    @classmethod
    def of(cls, name: str) -> "ColumnType":
        """Return the kind that a column of the SQL type `name` can be read as."""
        if name in _FLOATS:
            return cls.FLOAT
        if name == "BOOLEAN":
            return cls.BOOLEAN
        forms = (
            (_NUMBERS, cls.NUMBER),
            (_DATES, cls.DATE),
            (_LIST, cls.LIST),
            (_OPAQUE, cls.OPAQUE),
        )
        for form, kind in forms:
            if form.fullmatch(name):
                return kind
        return cls.TEXT

    @property
    def is_plain(self) -> bool:
        """Whether its values are one number, truth value, date or text each."""
        return self not in {ColumnType.LIST, ColumnType.OPAQUE}

    @property
    def is_text(self) -> bool:
        """Whether its values have a text form that a number may have to be read from."""
        return self not in {ColumnType.NUMBER, ColumnType.FLOAT, ColumnType.BOOLEAN}


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return `text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def text_of(column: str, kind: ColumnType) -> str:
    """Return SQL for a column's trimmed text (VARCHAR; NULL and NaN become NULL)."""
    name = quoted(column)
    if kind is ColumnType.FLOAT:
        return f"CASE WHEN isnan({name}) THEN NULL ELSE CAST({name} AS VARCHAR) END"
    text = f"CAST({name} AS VARCHAR)"
    # Trimming a set of characters takes microseconds a value: only where an end may need it.
    plain = f"unicode({text}) BETWEEN 33 AND 126 AND unicode(right({text}, 1)) BETWEEN 33 AND 126"
    return f"CASE WHEN {plain} THEN {text} ELSE trim({text}, {literal(WHITESPACE)}) END"


def id_of(column: str, kind: ColumnType) -> str:
    """Return SQL for a unit's id: its text in NFC, a whole number without zeros behind its point.

    An export that makes 7 to 7.0, as one does where a column of numbers has gaps, moves no unit to
    the other side; nor does one that writes an accent as a character of its own (NFD: Unicode
    Standard Annex 15). 007 is an id of its own: leading zeros belong to account numbers.
    """
    text = text_of(column, kind)
    if kind is ColumnType.FLOAT:  # beyond a million billion DuckDB writes 1e+16
        name = quoted(column)
        whole = f"abs({name}) < {2**53} AND {name} = trunc({name})"
        return f"CASE WHEN {whole} THEN CAST(CAST({name} AS BIGINT) AS VARCHAR) ELSE {text} END"
    if kind is ColumnType.TEXT:
        text = f"nfc_normalize({text})"
    pointed = f"right({text}, 1) = '0' AND contains({text}, '.')"
    return (
        f"CASE WHEN {pointed} THEN regexp_replace({text}, {literal(ID_FORM)}, '\\1') "
        f"ELSE {text} END"
    )


def value_of(column: str, kind: ColumnType, numerals: Numerals = PLAIN) -> str:
    """Return SQL for a column's text with every number in it written with a point.

    For labels and levels, so that `1,5` in one file means what 1.5 does in another; never for
    ids, which stay as they are.
    """
    text = text_of(column, kind)
    if not kind.is_text or numerals.plain:
        return text
    pointed = _pointed(text, numerals)
    is_number = f"regexp_full_match({text}, {literal(numerals.form)})"
    return (
        f"CASE WHEN {is_number} AND TRY_CAST({pointed} AS DOUBLE) IS NOT NULL THEN {pointed} "
        f"ELSE {text} END"
    )


def contents_of(columns: Mapping[str, ColumnType], numerals: Numerals = PLAIN) -> list[str]:
    """Return SQL for digests (hex) of a row's values, by name: equal for equal rows alone.

    Numbers count by value, whatever their form or the column's type; NULL, NaN and empty texts
    are one. One digest for a few columns each: an engine computes an expression as a whole.
    """
    values = [
        f"{literal(name)}, md5(coalesce({_canonical(name, columns[name], numerals)}, ''))"
        for name in sorted(columns)
    ]
    return [
        f"sha256(concat('', {', '.join(values[start : start + _DIGESTED])}))"
        for start in range(0, max(1, len(values)), _DIGESTED)
    ]


def _canonical(column: str, kind: ColumnType, numerals: Numerals) -> str:
    text = f"CAST({quoted(column)} AS VARCHAR)" if not kind.is_plain else text_of(column, kind)
    if not kind.is_plain or kind is ColumnType.DATE:
        return text
    number = number_of(column, kind, (), numerals)
    # Longer whole numbers are ids: a double would take two of them for one.
    return f"CASE WHEN abs({number}) < {2**53} THEN CAST({number} + 0.0 AS VARCHAR) ELSE {text} END"


def number_of(
    column: str, kind: ColumnType, missing: Sequence[str], numerals: Numerals = PLAIN
) -> str:
    """Return SQL for a column's number (DOUBLE): NaN where missing, NULL where it is none.

    `missing` tokens count as text and, where they are numbers, by value, so that a typed
    column and a text column agree. Truth values are 1 and 0.
    """
    name = quoted(column)
    tokens = [value for value in map(_finite, missing) if value is not None]
    if not kind.is_text:
        number = _unless(tokens, f"CAST({name} AS DOUBLE)")
        return f"CASE WHEN {name} IS NULL THEN {MISSING} ELSE {number} END"
    number = f"TRY_CAST({name} AS DOUBLE)"
    if not numerals.plain:
        # Signs that mean something else here, or stand between thousands, need a closer look.
        text = f"CAST({name} AS VARCHAR)"
        signs = " OR ".join(f"contains({text}, {literal(s)})" for s in numerals.doubtful)
        swapped = f"TRY_CAST(replace({text}, {literal(numerals.decimal)}, '.') AS DOUBLE)"
        number = f"CASE WHEN {signs} THEN NULL ELSE {swapped} END"
    # Numbers in their usual form need no look at their text, which costs several times more.
    return (
        f"CASE WHEN isfinite({number}) THEN {_unless(tokens, number)} "
        f"ELSE {_odd_number(column, missing, tokens, numerals)} END"
    )


def time_of(column: str, kind: ColumnType, form: str, missing: Sequence[str]) -> str:
    """Return SQL for a column's time: microseconds since 1970, UTC (DOUBLE).

    NaN where missing, NULL where it is no time; `missing` tokens count as text and, where they are
    times, by value. A text that says its offset from UTC is of that offset, any other of UTC: the
    machine's zone decides nothing. Of a date alone it is the midnight with which it begins.

    Args:
        column: its name.
        kind: its type.
        form: `iso`, or as strptime(3) writes it; for texts only.
        missing: texts that stand for no time.
    """
    text = text_of(column, kind)
    zoned = f"regexp_matches({text}, {literal(_OFFSET)})"
    if kind is ColumnType.DATE:
        found = quoted(column)
    elif form == ISO_DATES:
        found = f"TRY_CAST({text} AS TIMESTAMP)"
    else:
        found, zoned = f"try_strptime({text}, {literal(form)})", "false"
    time = f"TRY(epoch_us({found}))"
    if kind is not ColumnType.DATE:
        aware = f"TRY(epoch_us(TRY_CAST({text} AS TIMESTAMPTZ)))"
        time = f"CASE WHEN {zoned} THEN {aware} ELSE {time} END"
    words = ", ".join(literal(word) for word in ("", *missing))
    tokens = ", ".join(f"epoch_us(TRY_CAST({literal(word)} AS TIMESTAMP))" for word in missing)
    same = f" OR {time} IN ({tokens})" if tokens else ""
    return (
        f"CASE WHEN {text} IS NULL OR {text} IN ({words}){same} THEN {MISSING} "
        f"ELSE CAST({time} AS DOUBLE) END"
    )


def date_code_of(
    column: str, kind: ColumnType, form: str, missing: Sequence[str], today: date
) -> str:
    """Return SQL that is `DATE_FINE` (also where missing), `DATE_FUTURE` or `DATE_NONE`.

    Args:
        column: its name.
        kind: its type.
        form: `iso`, or as strptime(3) writes it; for texts only.
        missing: texts that stand for no date.
        today: the last date that is none of the future.
    """
    text = text_of(column, kind)
    if kind is ColumnType.DATE or form == ISO_DATES:
        found = f"TRY_CAST({text} AS TIMESTAMP)"
    else:
        found = f"try_strptime({text}, {literal(form)})"
    words = ", ".join(literal(word) for word in ("", *missing))
    return (
        f"CASE WHEN {text} IS NULL OR {text} IN ({words}) THEN {DATE_FINE} "
        f"WHEN {found} IS NULL THEN {DATE_NONE} "
        f"WHEN {found} >= CAST('{today.isoformat()}' AS TIMESTAMP) + INTERVAL 1 DAY "
        f"THEN {DATE_FUTURE} ELSE {DATE_FINE} END"
    )


def _pointed(text: str, numerals: Numerals) -> str:
    """Return SQL for a declared number's text as SQL writes it; NULL for `1.5` where `,` divides.

    The wrong sign is never guessed at: 1.234 may be a thousand times 1,234.
    """
    digits = text
    if numerals.thousands:
        digits = f"regexp_replace({text}, {literal(numerals.between)}, '', 'g')"
    pointed = f"replace({digits}, {literal(numerals.decimal)}, '.')"
    return (
        f"CASE WHEN regexp_full_match({text}, {literal(numerals.form)}) THEN {pointed} "
        f"WHEN NOT regexp_matches({text}, '[0-9]') THEN {text} END"
    )


def _odd_number(
    column: str, missing: Sequence[str], tokens: Sequence[float], numerals: Numerals
) -> str:
    """Return SQL for the number of a text that is no plain one."""
    text = text_of(column, ColumnType.TEXT)
    value = text if numerals.plain else _pointed(text, numerals)
    words = ", ".join(literal(word) for word in ("", *missing))
    return (
        f"CASE WHEN {text} IS NULL OR {text} IN ({words}) THEN {MISSING} "
        f"WHEN lower({text}) = 'true' THEN 1.0 WHEN lower({text}) = 'false' THEN 0.0 "
        f"ELSE {_unless(tokens, f'TRY_CAST({value} AS DOUBLE)')} END"
    )


def _unless(tokens: Sequence[float], number: str) -> str:
    """Return SQL for `number`, missing where it equals a token."""
    if not tokens:
        return number
    found = ", ".join(f"CAST({token!r} AS DOUBLE)" for token in tokens)
    return f"CASE WHEN {number} IN ({found}) THEN {MISSING} ELSE {number} END"


def _finite(token: str) -> float | None:
    try:
        value = float(token)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None
