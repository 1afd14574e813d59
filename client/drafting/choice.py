"""The use of a sample's column: a numeric feature with its knots, a category, or left out.

Half the knots stand at quantiles and half evenly over the range, on a logarithmic scale where the
feature is strongly skewed; each value that more than a fifth of the units share has its own slot
(docs/design.md, "Where knots go": at epsilon 1 this matters more than anything else, and quantiles
alone lose the tail).

A knot is public once it is in a study. The values given here must be public too.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from fieldfare.client.drafting.profile import Profile
from fieldfare.shared.features.features import (
    LEAST_GAP,
    LEAST_STEP,
    CategoricalFeature,
    Feature,
    Name,
    NumericFeature,
    Scale,
    Value,
)
from fieldfare.shared.features.media_gate import media_in
from fieldfare.shared.harm_rules import age_remedy, is_protected, name_parts

MOST_KNOTS: Final = 8
WEAK_KNOTS: Final = 4  # where a signal is weak: further knots are further noise
FEW_VALUES: Final = 10  # up to so many different values, each is a knot
MOST_SPECIAL: Final = 4
SPECIAL_SHARE: Final = 0.2
SKEW: Final = 5.0  # upper tail by lower tail, from the median to the outer percent
FAR_OUT: Final = 20.0  # the same with the largest value: outliers beyond the outer percent
STEPS: Final = (1.0, 0.5, 0.25, 0.1, 0.05, 0.01)  # of which values may all be multiples
ON_STEP: Final = 1e-6
CLOSE_SHARE: Final = 0.02  # knots with fewer units between them ...
CLOSE_RANGE: Final = 0.05  # ... and nearer than this share of the range are one knot

Values = NDArray[np.float64]


def draft_numeric(
    name: str, values: Values, units: int, most: int = MOST_KNOTS, scale: Scale | None = None
) -> NumericFeature:
    """Draft a numeric feature from public values.

    Args:
        name: the feature's name.
        values: float64 (present,), finite, at least two different ones.
        units: units in the sample, those without a value included.
        most: knots.
        scale: of the knots; by default what the values' skew asks for.

    Returns:
        A feature with at most `most` knots (`FEW_VALUES` of `MOST_KNOTS`, where each value is one).

    Raises:
        ValueError: no two knots that can be interpolated between.
    """
    different, counts = np.unique(values, return_counts=True)
    if len(different) <= FEW_VALUES:
        return _feature(name, Scale.LINEAR, different[[0, -1]], _some(different, most), ())
    common = np.argsort(-counts, kind="stable")[:MOST_SPECIAL]
    special = np.sort(different[common[counts[common] > SPECIAL_SHARE * units]])
    rest = values[~np.isin(values, special)]
    left = np.unique(rest)
    if len(left) <= FEW_VALUES:
        return _feature(name, Scale.LINEAR, left[[0, -1]], _some(left, most), special)
    scale = scale or (Scale.LOG1P if _strongly_skewed(rest) else Scale.LINEAR)
    bounds = _rounded_outward(rest, scale)
    return _feature(name, scale, bounds, _knots(rest, scale, bounds, most), special)


def _few(most: int) -> int:
    """Return up to how many different values are a knot each."""
    return FEW_VALUES if most == MOST_KNOTS else most


def _some(few: Values, most: int) -> Values:
    """Return few values, or where fewer knots are wanted those at even places, ends included."""
    places = np.linspace(0, len(few) - 1, min(len(few), _few(most)))
    some: Values = few[np.rint(places).astype(int)]
    return some


def even_numeric(
    name: str, lower: float, upper: float, scale: Scale, most: int = MOST_KNOTS
) -> NumericFeature:
    """Return a numeric feature of public bounds alone: knots stand evenly over them.

    Args:
        name: the feature's name.
        lower: the lower public bound.
        upper: the upper one.
        scale: on which knots are even; where bounds are whole and near, each whole number is one.
        most: knots.

    Raises:
        ValueError: no two knots that can be interpolated between.
    """
    bounds = np.array([lower, upper], dtype=np.float64)
    few = (bounds % 1 == 0).all() and 0 < upper - lower < _few(most)
    logarithmic = scale is Scale.LOG1P
    if few and not logarithmic:
        return _feature(name, scale, bounds, np.arange(lower, upper + 1), ())
    if not lower < upper or (logarithmic and lower < 0):
        raise ValueError("no two knots that can be interpolated between")
    ends = np.log1p(bounds) if logarithmic else bounds
    even = np.linspace(ends[0], ends[1], most)
    knots = _readable(np.expm1(even) if logarithmic else even, logarithmic=logarithmic)
    return _feature(name, scale, bounds, np.unique(np.clip(knots, *bounds)), ())


def thin_knots(feature: Feature) -> Feature:
    """Return a feature of given bounds with at most `WEAK_KNOTS` knots, evenly between them."""
    if not isinstance(feature, NumericFeature) or len(feature.knots) <= WEAK_KNOTS:
        return feature
    bounds = feature.lower, feature.upper
    return even_numeric(feature.name, *bounds, feature.scale, WEAK_KNOTS)


def _strongly_skewed(rest: Values) -> bool:
    """Compare the tails by quantiles, which a few outliers cannot sway."""
    if rest.min() < 0:
        return False
    low, middle, high = np.quantile(rest, [0.01, 0.5, 0.99])
    body = middle - low
    return bool(high - middle > SKEW * body or rest.max() - middle > FAR_OUT * body)


def _rounded_outward(rest: Values, scale: Scale) -> Values:
    """Round the extremes outward to about two digits: of the range, or each on a log scale."""
    low, high = float(rest.min()), float(rest.max())
    steps = (_tenth(low), _tenth(high)) if scale is Scale.LOG1P else (_tenth(high - low),) * 2
    lower = min(low, _tidy(math.floor(low / steps[0]) * steps[0]))
    return np.array([lower, max(high, _tidy(math.ceil(high / steps[1]) * steps[1]))])


def _tenth(size: float) -> float:
    """Return the power of ten one digit below the first digit of `size`."""
    return float(10.0 ** (math.floor(math.log10(size)) - 1)) if size > 0 else 1.0


def _tidy(value: float) -> float:
    """Drop the last binary digits, so that 0.1 + 0.2 is written 0.3."""
    return float(f"{value:.14g}")


def _knots(rest: Values, scale: Scale, bounds: Values, most: int) -> Values:
    """Half at quantiles, half evenly over the range, merged where they add nothing."""
    logarithmic = scale is Scale.LOG1P
    scaled = np.sort(np.log1p(rest) if logarithmic else rest)
    half = most // 2
    ends = np.log1p(bounds) if logarithmic else _without_outliers(scaled, bounds)
    even = np.linspace(ends[0], ends[1], most - half)
    quantiles = np.quantile(scaled, np.arange(1, half + 1) / (half + 1))
    candidates = np.unique(np.concatenate([even, quantiles]))
    if (rest % 1 == 0).all():
        whole = np.rint(np.expm1(candidates) if logarithmic else candidates)
        candidates = np.unique(np.log1p(whole) if logarithmic else whole)
    kept = _merged(candidates, scaled)
    knots = _readable(np.expm1(kept) if logarithmic else kept, logarithmic=logarithmic)
    return _steps_apart(np.unique(np.clip(knots, *bounds)), _resolution(rest))


def _steps_apart(knots: Values, step: float) -> Values:
    """Leave out knots nearer to their left neighbour than two values can be; the ends stay."""
    kept = [knots[0]]
    for knot in knots[1:-1]:
        if min(knot - kept[-1], knots[-1] - knot) >= step * (1 - ON_STEP):
            kept.append(knot)
    return np.array([*kept, knots[-1]])


def _resolution(rest: Values) -> float:
    """Return the largest usual step of which every value is a multiple; 0: none is."""
    for step in STEPS:
        counts = rest / step
        if (np.abs(counts - np.rint(counts)) < ON_STEP).all():
            return step
    return 0.0


def _readable(knots: Values, *, logarithmic: bool) -> Values:
    """Round to four digits: of each knot on a log scale, else of the range."""
    if logarithmic:
        short = np.array([float(f"{knot:.4g}") for knot in knots])
        return short if len(np.unique(short)) == len(knots) else knots
    fine = _tenth(knots[-1] - knots[0]) / 100
    return np.array([_tidy(round(knot / fine) * fine) for knot in knots])


def _without_outliers(scaled: Values, bounds: Values) -> Values:
    """Keep an even half within reach of the outer percents: beyond, the last knot holds."""
    low, high = np.quantile(scaled, [0.01, 0.99])
    reach = high - low
    return np.array([max(bounds[0], low - reach), min(bounds[1], high + reach)])


def _merged(knots: Values, scaled: Values) -> Values:
    """Leave out knots near their left neighbour with hardly a unit from there up to them."""
    kept = [knots[0]]
    for knot in knots[1:]:
        first, last = np.searchsorted(scaled, [kept[-1], knot], side="right")
        near = knot - kept[-1] < CLOSE_RANGE * (knots[-1] - knots[0])
        if not (near and last - first < CLOSE_SHARE * len(scaled)):
            kept.append(knot)
    return np.array(kept)


def _apart(knots: Values, scale: Scale) -> Values:
    """Leave out knots that a study would refuse beside their left neighbour (features.py)."""
    scaled = np.log1p(knots) if scale is Scale.LOG1P else knots
    kept = [0]
    for index in range(1, len(knots)):
        left, right = float(scaled[kept[-1]]), float(scaled[index])
        least = max(LEAST_GAP, max(abs(left), abs(right)) * LEAST_STEP)
        if least < right - left < math.inf:
            kept.append(index)
    if len(kept) == 1:
        raise ValueError("no two knots that can be interpolated between")
    return knots[kept]


def _feature(
    name: str, scale: Scale, bounds: Values, knots: Values, special: Values | tuple[()]
) -> NumericFeature:
    return NumericFeature(
        kind="numeric",
        name=name,
        lower=float(bounds[0]),
        upper=float(bounds[1]),
        scale=scale,
        knots=tuple(map(float, _apart(knots, scale))),
        special=tuple(map(float, special)),
    )


# -- choice ---------------------------------------------------------------------------------------

MOST_LEVELS: Final = 64
LEAST_LEVEL_SHARE: Final = 0.002  # a rarer level is noise at epsilon 1: it falls to `other`
LEAST_COVERED: Final = 0.2  # of the values that are there, by all levels together
NUMBER_SHARE: Final = 0.98  # of the values that are there: the rest is a few odd tokens
MOST_ODD_TOKENS: Final = 5
DIFFERENT_SHARE: Final = 0.5  # texts as different as that are ids or free text
FEW_TEXTS: Final = 20
LONG_TEXT: Final = 60  # characters on average: sentences, no category
CONSTANT_MISSING_SHARE: Final = 0.001
SEVERAL_SHARE: Final = 0.2
MOST_NAME: Final = 128
NEARLY_UNIQUE: Final = 0.95
ID_DIGITS: Final = 6  # whole numbers of one length from here on, and nearly unique: no amounts
SAME_SIZE: Final = 0.9
LEAST_NAMES: Final = 5  # different ones
NAMES_SHARE: Final = 0.05  # of the values: the lists below hold the most common names alone
UNSEEN: Final = "a name with signs that cannot be seen: rename the column"
_KEPT: Final = "; --keep keeps it"
_NAME: Final = TypeAdapter[str](Name)
_VALUE: Final = TypeAdapter[str](Value)
_NUMBERS_OF: Final = frozenset(
    ["number", "nr", "no", "num", "nummer", "phone", "telephone", "telefon", "passport", "ssn"]
)
_NAME_WORDS: Final = frozenset((
    "surname", "lastname", "firstname", "forename", "givenname", "familyname", "fullname",
    "middlename", "maidenname", "vorname", "nachname", "familienname", "prenom", "nom", "apellido",
    "apellidos", "nombre", "nombres",
))  # fmt: skip
_NAME_PAIRS: Final = frozenset(
    (who, "name")
    for who in (
        *("customer", "client", "holder", "owner", "person", "contact", "beneficiary", "payee"),
        *("payer", "cardholder", "debtor", "creditor", "debitor", "applicant", "member", "worker"),
    )
)
# The most common given and family names of many countries that are no words, months or places.
COMMON_NAMES: Final = frozenset((
    "maria", "anna", "jose", "john", "mary", "james", "robert", "michael", "mohammed", "muhammad",
    "mohamed", "ahmed", "fatima", "wei", "jennifer", "linda", "patricia", "elizabeth", "thomas",
    "sarah", "jessica", "daniel", "matthew", "anthony", "stephen", "andrew", "joshua", "kevin",
    "brian", "juan", "carlos", "luis", "pedro", "miguel", "carmen", "isabel", "laura", "marie",
    "pierre", "jean", "nicolas", "camille", "hans", "peter", "klaus", "stefan", "andreas", "julia",
    "katharina", "sabine", "ivan", "olga", "natalia", "svetlana", "sergey", "dmitri", "tatiana",
    "nguyen", "tran", "priya", "rahul", "amit", "sunita", "yusuf", "ibrahim", "aisha", "omar",
    "khadija", "chukwu", "ngozi", "smith", "johnson", "williams", "jones", "garcia", "martinez",
    "rodriguez", "hernandez", "lopez", "gonzalez", "perez", "sanchez", "silva", "santos", "mueller",
    "muller", "schmidt", "schneider", "fischer", "weber", "meyer", "martin", "dubois", "moreau",
    "rossi", "ferrari", "bianchi", "ivanov", "petrov", "kumar", "singh", "patel", "khan", "wang",
    "zhang", "chen", "liu", "yang", "kim", "tanaka", "suzuki", "sato", "popescu", "kowalski",
    "nowak", "novak", "nagy", "andersen", "hansen", "johansson", "david", "emma", "olivia", "noah",
    "liam", "sophie", "lukas", "elena", "marta", "pablo", "diego", "amina", "hassan", "ali",
))  # fmt: skip

_DATE: Final = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?"  # 2025-01-31, 31/01/2025 08:15
    r"|\d{1,2}[- ][A-Za-z]{3,9}[- ,]+\d{2,4}.*"  # 31 Jan 2025
    r"|\d{1,2}:\d{2}(:\d{2}.*)?"  # 08:15
)
_DAY: Final = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")  # 20250131
_SEVERAL: Final = re.compile(r"[^;]+(;[^;]+)+")  # 2025-01;2025-03
_WRITTEN: Final = re.compile(r"[+-]?[$€£]?\s?[+-]?\d[\d.,' ]*\s?([%$€£]|[A-Z]{3})?")  # 1.234,50 EUR


@dataclass(frozen=True)
class Choice:
    """A feature and the texts that count as missing for it, or the reason to leave out."""

    feature: Feature | None
    reason: str = ""
    odd_tokens: tuple[str, ...] = ()


def choose(column: Profile, *, keep: bool = False, most: int = MOST_KNOTS) -> Choice:
    """Decide about one column; every reason is one line that a person can act on.

    With `keep`, columns that look like identifiers or names of people stay; a number gets at most
    `most` knots.
    """
    personal = "" if keep else _personal(column)
    for reason in (_forbidden(column), _empty(column), _listed(column), personal):
        if reason:
            return Choice(None, reason)
    numbers = column.numbers
    nearly_all = len(numbers) >= NUMBER_SHARE * column.present
    if nearly_all and len(column.texts) <= MOST_ODD_TOKENS and len(np.unique(numbers)) > 1:
        return _plain(_numeric(column, numbers, most))
    return _plain(_category(column, numbers))


def _plain(choice: Choice) -> Choice:
    """Leave a feature out that no study may hold."""
    feature = choice.feature
    if feature is not None and any(media_in(feature.model_dump())):  # harm rule 6
        return Choice(None, "a name or a value that is no plain word (harm rule 6)")
    return choice


def names_an_id(name: str) -> bool:
    """Tell whether a column's name says that it holds ids: `id`, `branch_id`, `branchId`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    words = re.split(r"[^a-z0-9]+", spaced.lower())
    return words[-1] in {"id", "ids", "uuid", "guid", "iban"}


def _personal(column: Profile) -> str:
    """Say why a column looks as if it told people apart; a study would publish its values."""
    numbers, texts = column.numbers, column.texts
    if texts and _named_for_people(column.name):
        return "names of people, by its name" + _KEPT
    if _holds_people(texts):
        return "names of people, by what it holds" + _KEPT
    different = len(np.unique(numbers))
    if column.present <= FEW_TEXTS or different < NEARLY_UNIQUE * column.present:
        return ""
    if (numbers % 1 != 0).any():
        return ""
    sizes = Counter(len(f"{abs(value):.0f}") for value in numbers.tolist())
    size, count = sizes.most_common(1)[0]
    numbered = bool(_NUMBERS_OF.intersection(name_parts(column.name)))
    if numbered or (size >= ID_DIGITS and count >= SAME_SIZE * len(numbers)):
        return "nearly unique whole numbers: an identifier" + _KEPT
    return ""


def _named_for_people(name: str) -> bool:
    parts = name_parts(name)
    return bool(
        _NAME_WORDS.intersection(parts)
        or parts == ["name"]
        or any("".join(pair) in _NAME_WORDS or pair in _NAME_PAIRS for pair in pairwise(parts))
    )


def _holds_people(texts: Counter[str]) -> bool:
    """Tell whether texts hold several of the world's most common given and family names."""
    rows, seen = 0, set[str]()
    for text, count in texts.items():
        found = COMMON_NAMES.intersection(name_parts(text))
        rows += count if found else 0
        seen |= found
    return len(seen) >= LEAST_NAMES and rows >= NAMES_SHARE * texts.total()


def _forbidden(column: Profile) -> str:
    if is_protected(column.name):
        return "a protected attribute (harm rule 4): for fairness audit only" + age_remedy(
            column.name
        )
    if len(column.name) > MOST_NAME:
        return f"a name of more than {MOST_NAME} characters"
    return "" if may_name(column.name) else UNSEEN


def may_name(text: str) -> bool:
    """Tell whether a study may hold a text as the name of a column."""
    return _is_valid(_NAME, text)


def _is_valid(kind: TypeAdapter[str], text: str) -> bool:
    try:
        kind.validate_python(text)
    except ValidationError:
        return False
    return True


def _empty(column: Profile) -> str:
    if not column.present:
        return "no value in the sample"
    different = len(column.texts) + len(np.unique(column.numbers))
    if different == 1 and column.missing <= CONSTANT_MISSING_SHARE * column.rows:
        return "the same value everywhere"
    return ""


def _listed(column: Profile) -> str:
    texts = column.texts
    several = sum(count for text, count in texts.items() if _SEVERAL.fullmatch(text))
    if several > SEVERAL_SHARE * column.present:
        return "several values in a cell: questions can count them, no feature can"
    return ""


def _numeric(column: Profile, numbers: NDArray[np.float64], most: int) -> Choice:
    different = np.unique(numbers)
    whole = bool((different % 1 == 0).all())
    if whole and len(different) == column.rows > FEW_TEXTS:
        if names_an_id(column.name):
            return Choice(None, "an identifier: different in every row")
        if different[-1] - different[0] + 1 == len(different):
            return Choice(None, "a running number: different in every row")
    if whole and all(_DAY.fullmatch(f"{value:.0f}") for value in different):
        return Choice(None, "a date")
    if whole and names_an_id(column.name):
        return _category(column, numbers)
    try:
        feature = draft_numeric(column.name, numbers, column.rows, most)
    except ValueError:
        return Choice(None, "numbers too close together, or too far apart, to interpolate between")
    return Choice(feature, odd_tokens=tuple(_valued(sorted(column.texts))))


def _valued(texts: Iterable[str]) -> list[str]:
    """Return the texts that a study may hold as values; units of the others are of no level."""
    return [text for text in texts if _is_valid(_VALUE, text)]


def _texts(column: Profile, numbers: NDArray[np.float64]) -> Counter[str]:
    """Return every value as text with its count; a number in its shortest form."""
    values, counts = np.unique(numbers, return_counts=True)
    written = (f"{value:.0f}" if value % 1 == 0 else repr(float(value)) for value in values)
    return column.texts + Counter(dict(zip(written, map(int, counts), strict=True)))


def dates_in(column: Profile) -> bool:
    """Tell whether most of a column's different texts are dates or times."""
    return bool(column.texts) and _most(_DATE, column.texts)


def _category(column: Profile, numbers: NDArray[np.float64]) -> Choice:
    texts = _texts(column, numbers)
    if _most(_DATE, texts):
        return Choice(None, "a date or a time: a study may compute with it (derived)")
    if sum(len(text) * count for text, count in texts.items()) > LONG_TEXT * texts.total():
        return Choice(None, "free text (harm rule 6)")
    different = len(texts)
    if different > FEW_TEXTS and _most(_WRITTEN, column.texts):
        return Choice(None, "numbers with a comma, a unit or a sign; write them as 1234.5")
    if column.overflowing or different > max(FEW_TEXTS, DIFFERENT_SHARE * column.present):
        return Choice(None, "mostly different texts: an identifier or free text")
    ranked = sorted(texts.items(), key=lambda item: (-item[1], item[0]))[:MOST_LEVELS]
    least = max(2.0, LEAST_LEVEL_SHARE * column.rows)
    common = [level for level, count in ranked if count >= least]
    levels = _valued(common)
    if sum(texts[level] for level in levels) < LEAST_COVERED * column.present:
        many = f"too many different values ({different}) for {MOST_LEVELS} levels"
        unseen = "values with signs that cannot be seen, or longer than a study holds"
        return Choice(None, many if levels == common else unseen)
    return Choice(CategoricalFeature(kind="categorical", name=column.name, levels=tuple(levels)))


def _most(form: re.Pattern[str], texts: Counter[str]) -> bool:
    """Tell whether most of the different texts are written in a form."""
    return sum(form.fullmatch(text) is not None for text in texts) > DIFFERENT_SHARE * len(texts)
