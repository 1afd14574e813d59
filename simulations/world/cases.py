"""The records of NGOs and hotlines: case summaries and signals; few belong to rings that banks see.

Pick lists are those of the canonical records. There is no name, no story and no age in years.
Which case belongs to which ring is latent: it stands in the truth only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldfare.client.records.canonical_cases import (
    Assessment,
    CallerType,
    CaseAgeBand,
    CaseStatus,
    CaseSummary,
    ControlMethod,
    HotlineSignal,
    Recruitment,
    Relation,
    SignalChannel,
    SupportNeed,
    TraffickingStatus,
)
from fieldfare.client.records.canonical_tables import arrow_schema
from fieldfare.simulations.world.habits import START
from fieldfare.simulations.world.institutions import WorldInstitution
from fieldfare.simulations.world.rings import Rings
from fieldfare.simulations.world.scenarios import SCENARIOS
from fieldfare.simulations.world.society import CITIES_A_REGION, NOBODY, IntArray, keys
from fieldfare.simulations.world.tables import REGION_NAMES, date_array

LINKED: Final = 0.15
"""Probability that a possible victim who serves a ring becomes a case."""

# NGOs and hotlines serve the whole country; the banks' customers are a sample of it.
_CASES_A_YEAR: Final = 400.0  # per 10,000 people of the sample, all NGOs together
_SIGNALS_A_YEAR: Final = 2000.0  # per 10,000 people of the sample
_GROWTH: Final = 0.2  # a month, in the region that the seed draws
_CONSENT: Final = 0.62
_SIGNALS_OF_A_CASE: Final = 0.5
_TYPES: Final = ("SexualExploitation", "ForcedLabour", "Servitude", "ForcedBegging")
_TYPE_SHARES: Final = (0.6, 0.28, 0.08, 0.04)
_CONTROLS: Final = {
    "SexualExploitation": ("TakesEarnings", "PsychologicalAbuse", "RestrictsFinancialAccess"),
    "ForcedLabour": ("DebtBondage", "ExcessiveWorkingHours", "WithholdsDocuments"),
    "Servitude": ("WithholdsDocuments", "ExcessiveWorkingHours", "PsychologicalAbuse"),
    "ForcedBegging": ("TakesEarnings", "PhysicalThreats", "WithholdsNecessities"),
}
_INDUSTRIES: Final = {"ForcedLabour": ("A", "C", "F", "I"), "Servitude": ("T",)}
_VENUES: Final = {
    "SexualExploitation": ("private_flat", "hotel", "massage_parlour", "online"),
    "ForcedLabour": ("farm", "building_site", "kitchen", "factory"),
    "Servitude": ("household",),
    "ForcedBegging": ("street",),
}
_REFERRALS: Final = ("hotline", "police", "health", "self", "community")
_TOPICS: Final = {
    "SexualExploitation": "sexual",
    "ForcedLabour": "labour",
    "Servitude": "labour",
    "ForcedBegging": "begging",
}
_LANGUAGES: Final = ("en", "fr", "es", "tl", "ro", "zh")
_LANGUAGE_SHARES: Final = (0.6, 0.14, 0.1, 0.06, 0.05, 0.05)


@dataclass(frozen=True, slots=True)
class Cases:
    """Cases before they are written down: arrays of one row each.

    Attributes:
        ngo: index of the NGO, int64.
        day: when it was opened, int64.
        region: where the exploitation was, int64.
        kind: index into `_TYPES`, int64.
        ring, customer: latent links, or -1, int64.
    """

    ngo: IntArray
    day: IntArray
    region: IntArray
    kind: IntArray
    ring: IntArray
    customer: IntArray


@dataclass(frozen=True, slots=True)
class Signals:
    """Contacts of hotlines: arrays of one row each; `case` is an index into cases, or -1."""

    hotline: IntArray
    minute: IntArray
    region: IntArray
    kind: IntArray
    case: IntArray


def growing_region(rng: np.random.Generator) -> int:
    """Draw the one region where cases and calls grow month by month."""
    return int(rng.integers(len(REGION_NAMES)))


def _days(rng: np.random.Generator, region: IntArray, growing: int, days: int) -> IntArray:
    """Return days of the window; in the growing region late ones are more frequent."""
    rate = np.where(region == growing, _GROWTH / 30, 1e-9)
    most = np.expm1(rate * days)
    day = np.log1p(rng.random(region.size) * most) / rate
    return np.asarray(np.minimum(day, days - 1).astype(np.int64))


def _regions(rng: np.random.Generator, size: int, growing: int, days: int) -> IntArray:
    weights = np.ones(len(REGION_NAMES))
    weights[growing] = np.expm1(_GROWTH / 30 * days) / (_GROWTH / 30 * days)
    return np.asarray(rng.choice(weights.size, size, p=weights / weights.sum()))


def draw_cases(
    rng: np.random.Generator,
    ngos: Sequence[WorldInstitution],
    rings: Rings,
    victims: IntArray,
    *,
    people: int,
    days: int,
    growing: int,
) -> Cases:
    """Draw NGO cases: most have nothing to do with accounts in this world.

    Args:
        rng: the only source of chance.
        ngos: who takes cases.
        rings: ground truth.
        victims: index into the rings' members of those who may be victims.
        people: persons in the world.
        days: length of the window.
        growing: region where cases grow.
    """
    size = int(rng.poisson(_CASES_A_YEAR * people / 10_000 * days / 365)) if ngos else 0
    region = _regions(rng, size, growing, days)
    linked = victims[rng.random(victims.size) < LINKED] if ngos else victims[:0]
    ring = rings.ring[linked]
    begun = np.maximum(rings.start[ring], 0.0)
    day = begun + rng.exponential(60, linked.size)
    inside = day < days
    linked, ring, day = linked[inside], ring[inside], day[inside]
    exploited = np.array([_TYPES.index(s.exploitation) for s in SCENARIOS])
    weights = np.array([one.size for one in ngos]) if ngos else np.ones(1)
    total = size + linked.size
    cases = Cases(
        ngo=rng.choice(weights.size, total, p=weights / weights.sum()),
        day=np.concatenate([_days(rng, region, growing, days), day.astype(np.int64)]),
        region=np.concatenate([region, rings.home[ring] // CITIES_A_REGION]),
        kind=np.concatenate(
            [rng.choice(len(_TYPES), size, p=_TYPE_SHARES), exploited[rings.scenario[ring]]]
        ),
        ring=np.concatenate([np.full(size, NOBODY), ring]),
        customer=np.concatenate([np.full(size, NOBODY), rings.customer[linked]]),
    )
    order = np.lexsort((np.arange(total), cases.day, cases.ngo))
    return Cases(*(getattr(cases, name)[order] for name in Cases.__slots__))


def draw_signals(
    rng: np.random.Generator,
    hotlines: Sequence[WorldInstitution],
    cases: Cases,
    *,
    people: int,
    days: int,
    growing: int,
) -> Signals:
    """Draw hotline contacts: some are about a case that an NGO has or will have."""
    size = int(rng.poisson(_SIGNALS_A_YEAR * people / 10_000 * days / 365)) if hotlines else 0
    region = _regions(rng, size, growing, days)
    about = np.flatnonzero(rng.random(cases.day.size) < _SIGNALS_OF_A_CASE * bool(hotlines))
    day = np.concatenate(
        [_days(rng, region, growing, days), cases.day[about] - rng.integers(0, 21, about.size)]
    )
    weights = np.array([one.size for one in hotlines]) if hotlines else np.ones(1)
    total = size + about.size
    signals = Signals(
        hotline=rng.choice(weights.size, total, p=weights / weights.sum()),
        minute=np.maximum(day, 0) * 1440 + rng.integers(1440, size=total),
        region=np.concatenate([region, cases.region[about]]),
        kind=np.concatenate([rng.choice(len(_TYPES), size, p=_TYPE_SHARES), cases.kind[about]]),
        case=np.concatenate([np.full(size, NOBODY), about]),
    )
    order = np.lexsort((np.arange(total), signals.minute, signals.hotline))
    return Signals(*(getattr(signals, name)[order] for name in Signals.__slots__))


def case_ids(salt: int, rows: IntArray) -> Any:
    """Return the ids that an NGO knows cases by."""
    return keys(rows, salt ^ 0x43)


def signal_ids(salt: int, rows: IntArray) -> Any:
    """Return the ids that a hotline knows signals by."""
    return keys(rows, salt ^ 0x53)


def case_table(rng: np.random.Generator, cases: Cases, rows: IntArray, name: str, salt: int) -> Any:
    """Return one NGO's cases as canonical records."""
    size = rows.size
    kinds = [_TYPES[k] for k in cases.kind[rows]]
    region = cases.region[rows]
    recruited = np.where(rng.random(size) < 0.6, rng.integers(len(REGION_NAMES), size=size), region)  # noqa: PLR2004 (most come from elsewhere)
    columns = {
        "case_id": case_ids(salt, rows),
        "org_id": pa.array([name] * size, pa.string()),
        "opened": date_array(cases.day[rows]),
        "status": _pick(rng, CaseStatus, size, (0.45, 0.25, 0.2, 0.1)),
        "trafficking_status": _pick(rng, TraffickingStatus, size, (0.5, 0.42, 0.08)),
        "age_band": _pick(rng, CaseAgeBand, size, None, missing=0.3),
        "exploitation": pa.array([[kind] for kind in kinds], pa.list_(pa.string())),
        "control": _several(rng, [_CONTROLS[kind] for kind in kinds], ControlMethod),
        "recruit_method": _pick(rng, Recruitment, size, None, missing=0.35),
        "relation": _pick(rng, Relation, size, (0.15, 0.5, 0.35), missing=0.3),
        "region_recruit": _region(recruited, rng.random(size) < 0.25),  # noqa: PLR2004 (a quarter is not known)
        "region_exploit": _region(region, rng.random(size) < 0.08),  # noqa: PLR2004 (some are not known)
        "industry": _word(rng, [_INDUSTRIES.get(kind, ()) for kind in kinds]),
        "venue_category": _word(rng, [_VENUES[kind] for kind in kinds]),
        "support_needs": _several(
            rng, [("Housing", "Legal", "Health", "SocialCare")] * size, SupportNeed
        ),
        "referral_source": _word(rng, [_REFERRALS] * size),
        "consent_research": pa.array(rng.random(size) < _CONSENT),
    }
    return pa.table(columns, schema=arrow_schema(CaseSummary))


def signal_table(rng: np.random.Generator, signals: Signals, rows: IntArray, salt: int) -> Any:
    """Return one hotline's contacts as canonical records; its own word for a case, if any.

    A hotline's `case_id` groups its own contacts; that it is an NGO's case is latent.
    """
    size = rows.size
    case = signals.case[rows]
    epoch = np.datetime64(START.isoformat()).astype("datetime64[us]").astype(np.int64)
    columns = {
        "signal_id": signal_ids(salt, rows),
        "ts": pa.array(epoch + signals.minute[rows] * 60_000_000).cast(pa.timestamp("us")),
        "channel": _pick(rng, SignalChannel, size, (0.55, 0.15, 0.12, 0.08, 0.1)),
        "caller_type": _pick(rng, CallerType, size, (0.2, 0.12, 0.3, 0.2, 0.05, 0.13)),
        "crisis": pa.array(rng.random(size) < 0.06),  # noqa: PLR2004 (one in sixteen)
        "case_id": keys(case, salt ^ 0x47, (case >= 0) & (rng.random(size) < 0.5)),  # noqa: PLR2004 (half are told apart)
        "topic": pa.array([_TOPICS[_TYPES[k]] for k in signals.kind[rows]], pa.string()),
        "region": _region(signals.region[rows], rng.random(size) < 0.12),  # noqa: PLR2004 (an eighth does not say)
        "language": pa.array(_LANGUAGES).take(
            pa.array(rng.choice(len(_LANGUAGES), size, p=_LANGUAGE_SHARES))
        ),
        "referral_made": pa.array(rng.random(size) < 0.4),  # noqa: PLR2004 (of all contacts)
        "assessment": _pick(rng, Assessment, size, (0.18, 0.3, 0.32, 0.2)),
    }
    return pa.table(columns, schema=arrow_schema(HotlineSignal))


def _pick(
    rng: np.random.Generator,
    words: Any,
    size: int,
    shares: Sequence[float] | None,
    *,
    missing: float = 0.0,
) -> Any:
    values = [word.value for word in words]
    place = rng.choice(len(values), size, p=shares)
    return pa.array(values).take(pa.array(place, mask=rng.random(size) < missing))


def _region(region: IntArray, unknown: npt.NDArray[np.bool_]) -> Any:
    return pa.array(REGION_NAMES).take(pa.array(region, mask=unknown))


def _word(rng: np.random.Generator, choices: Sequence[Sequence[str]]) -> Any:
    """Return one of each row's choices; null where there are none, and now and then besides."""
    draws = rng.random(len(choices)) * 1.25  # a fifth is not known
    return pa.array(
        [
            group[int(draw * len(group))] if group and draw < 1 else None
            for group, draw in zip(choices, draws, strict=True)
        ],
        pa.string(),
    )


def _several(rng: np.random.Generator, likely: Sequence[Sequence[str]], words: Any) -> Any:
    """Return sorted lists: each row's likely words often, all others rarely."""
    every = sorted(word.value for word in words)
    draws = rng.random((len(likely), len(every)))
    return pa.array(
        [
            [w for w, d in zip(every, row, strict=True) if d < (0.5 if w in group else 0.05)]
            for group, row in zip(likely, draws, strict=True)
        ],
        pa.list_(pa.string()),
    )
