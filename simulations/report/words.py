"""results.json in plain words; every sentence is computed from the numbers.

The terminal screen and the page share these sentences, so they cannot disagree.
Words are plain ASCII (names excepted): a terminal may have nothing else.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from fieldfare.shared.evaluation.groups import Interval, group_lines, times_verdict
from fieldfare.shared.pages.words import (
    best_guess,
    decimals,
    odds_factor,
    one_in,
    percent,
    short,
    signed,
    unit_words,
)
from fieldfare.shared.privacy.gaussian import epsilon_for
from fieldfare.shared.terminal.texts import cut

Results = Mapping[str, Any]

NOTICEABLE: Final = 0.005
"""A difference in AUROC or average precision below this is called none."""

CLEAR: Final = 0.02
"""A difference from here on is called clear."""

LONGEST_NAME: Final = 32
"""Letters of a name within a sentence."""

DROWNED: Final = 0.4
"""Width of an interval of AUROC from which on a measurement says hardly anything."""

MOST_GROUPS: Final = 3
"""Groups named in a sentence; the page shows all."""

SPARED: Final = ("independent_adult_worker", "survivor_rebuilding")
"""Groups whom an alert may harm most: named whenever they are in the records (harm rule 5)."""

TOO_OFTEN: Final = 2.0
"""Times the false-positive rate of all others above which a group is reviewed too often."""


RARER: Final = (
    "Real prevalence is far lower, and privacy needs cases: noise stays the same while they "
    "shrink. Rarer cases need more institutions, longer windows or a larger epsilon; `fieldfare "
    "study join` says what fewer labels give."
)


class ModelWords(NamedTuple):
    """The name and the description of a model of the comparison."""

    name: str
    meaning: str


MODELS: Final[Mapping[str, ModelWords]] = {
    "federated": ModelWords(
        "Together, through Fieldfare",
        "One model for all; only noised sums leave an institution.",
    ),
    "alone": ModelWords(
        "Each alone, no privacy",
        "An institution's own best model of its own records (mean over institutions).",
    ),
    "at_home": ModelWords(
        "Together, used at home",
        "The shared model weighed with an institution's own, inside (mean over institutions).",
    ),
    "start": ModelWords(
        "Start untouched",
        "The study's public start, learned in an invented world: nothing of these records in it.",
    ),
    "alone_start": ModelWords(
        "Alone from the same start",
        "Each institution learns multipliers of the start by itself (mean over institutions).",
    ),
    "alone_dp": ModelWords(
        "Each alone, same privacy",
        "The same, with the model protected as the shared one is (mean over institutions).",
    ),
    "local_dp": ModelWords(
        "Together, full noise at each",
        "No masks: each institution adds all the noise to its own sums, at every step.",
    ),
    "central": ModelWords(
        "One pool, no privacy",
        "All records in one place, unprotected: a reference that nobody may build.",
    ),
    "central_dp": ModelWords(
        "One pool, same privacy",
        "All records in one place with one trusted curator: what Fieldfare aims to equal.",
    ),
}


def spoken(name: str) -> str:
    """Return a group's name as one says it: `night_shift_worker` is a night shift worker."""
    return name.replace("_", " ")


def metric(results: Results, model: str, key: str) -> float | None:
    """Value of one model's metric, or None where the model or the value is absent."""
    value = (results["models"].get(model) or {}).get(key)
    return None if value is None else float(value)


def units(results: Results) -> str:
    """Plural of the unit's word: accounts, customers, cases; `units` where none is given."""
    return unit_words(str(results["study"].get("unit") or ""))[1]


def unit(results: Results) -> str:
    """Singular of `units`."""
    return unit_words(str(results["study"].get("unit") or ""))[0]


def protected(results: Results) -> bool:
    """Say whether noise was exact and replies were masked, as in a deployment."""
    privacy = results["privacy"]
    return privacy.get("noise") == "exact" and bool(privacy.get("masked"))


def warning(results: Results) -> str | None:
    """Return a warning for an unprotected run; None for a protected one."""
    if protected(results):
        return None
    noise = "fast seeded noise" if results["privacy"].get("noise") != "exact" else "exact noise"
    masks = "and nothing was masked" if not results["privacy"].get("masked") else "under masks"
    return (
        f"This run used {noise} {masks}. It is a study of utility, not a protected run: "
        "nothing from it may be released as private."
    )


def how(results: Results) -> str:
    """Return the kind of run in one line of 80 columns."""
    if protected(results):
        return "Noise and masks as in a deployment; all records were on this one machine."
    return "A study of utility, not a protected run: nothing of it may be released."


def setting(results: Results) -> str:
    """Return the limits of a protected simulation; empty for an unprotected one (`warning`)."""
    if not protected(results):
        return ""
    return "Noise and masks were those of a deployment; all records were on this one machine."


class ModelComparison(NamedTuple):
    """Differences of two models (first minus second) and the words for them."""

    auroc: float | None
    average_precision: float | None
    words: str


def compare(results: Results, model: str, other: str) -> ModelComparison | None:
    """Compare two models by AUROC and average precision; None where neither can be compared."""
    gaps: list[float | None] = []
    for key in ("auroc", "average_precision"):
        first, second = metric(results, model, key), metric(results, other, key)
        gaps.append(None if first is None or second is None else first - second)
    known = [gap for gap in gaps if gap is not None]
    return ModelComparison(gaps[0], gaps[1], _comparative(known)) if known else None


def _comparative(gaps: list[float]) -> str:
    """Words for one or two differences.

    Clearly, if all are clear; slightly, if only one can be noticed; mixed, if they disagree.
    """
    noticed = [gap for gap in gaps if abs(gap) >= NOTICEABLE]
    if not noticed:
        return "about as well as"
    if min(noticed) < 0 < max(noticed):
        better, worse = ("AUROC", "average precision")[:: 1 if gaps[0] > 0 else -1]
        return f"better by {better} but worse by {worse} than"
    direction = "better" if noticed[0] > 0 else "worse"
    if all(abs(gap) >= CLEAR for gap in gaps):
        return f"clearly {direction} than"
    return f"{direction} than" if len(noticed) == len(gaps) else f"slightly {direction} than"


def gains(results: Results) -> dict[str, float]:
    """AUROC together minus AUROC alone without privacy on the pooled hold-out, by institution."""
    together = metric(results, "federated", "auroc")
    alone = (results["models"].get("alone") or {}).get("per_institution") or {}
    values = {name: (entry.get("pooled") or {}).get("auroc") for name, entry in alone.items()}
    if together is None:
        return {}
    return {name: together - value for name, value in values.items() if value is not None}


def conclusion(results: Results) -> list[str]:
    """The meaning of the numbers, sentence by sentence; the first one is the answer."""
    pair = compare(results, "federated", "alone")
    sentences = [own_verdict(results)]
    if answer(results) not in sentences:
        sentences.append(answer(results))
    sentences += [_figures(results), spread(results), same_privacy(results)]
    if (pooled := metric(results, "central", "auroc")) is not None:
        sentences.append(
            "All records in one unprotected pool, which nobody may build, would give AUROC "
            f"{decimals(pooled)}, average precision "
            f"{decimals(metric(results, 'central', 'average_precision'))}."
        )
    if pair is not None and pair.words.endswith("worse than"):
        sentences.append("Who looks at accuracy only would do better alone on these records.")
    return [sentence for sentence in sentences if sentence]


def answer(results: Results) -> str:
    """The joint model against the institutions' own today, in one sentence without numbers."""
    if metric(results, "federated", "auroc") is None:
        return (
            f"No ranking could be measured: the hold-out lacks labelled or unlabelled "
            f"{units(results)}."
        )
    pair = compare(results, "federated", "alone")
    if pair is None:
        return (
            "Institutions alone were not measured: this run does not show whether learning "
            "together helps."
        )
    return (
        f"Measured on everybody's {units(results)}, the model learned together under privacy ranks "
        f"{pair.words} an institution's own model without privacy."
    )


def _figures(results: Results) -> str:
    """The two metrics, together and alone."""
    if metric(results, "federated", "auroc") is None:
        return ""
    text = f"Together: {_both(results, 'federated')}"
    alone = metric(results, "alone", "auroc") is not None
    return text + (f"; alone, on average: {_both(results, 'alone')}." if alone else ".")


def spread(results: Results) -> str:
    """The institutions that gain and those that do not, by AUROC."""
    by_name = gains(results)
    if len(by_name) < 2:  # noqa: PLR2004 (one institution has no spread)
        return ""
    least, most = min(by_name, key=by_name.__getitem__), max(by_name, key=by_name.__getitem__)
    losers = sum(gain < 0 for gain in by_name.values())
    return (
        f"Against each institution's own, AUROC changes by {signed(by_name[least])} "
        f"({cut(least, LONGEST_NAME)}) to {signed(by_name[most])} ({cut(most, LONGEST_NAME)}); "
        f"{losers or 'none'} of {len(by_name)} would rank better alone{_on_their_own(results)}"
    )


def _on_their_own(results: Results) -> str:
    """End the sentence with whom a shared model serves worse on its own units."""
    changes = own_gains(results)
    if not changes:
        return "."
    losers = sum(gain < 0 for gain in changes.values())
    mean = sum(changes.values()) / len(changes)
    return (
        f"; on their own {units(results)} alone, {losers or 'none'} of {len(changes)} would "
        f"(mean change {signed(mean)})."
    )


def own_gains(results: Results) -> dict[str, float]:
    """AUROC together minus alone without privacy, each on the institution's own hold-out."""
    changes = {}
    for name in (results["models"].get("alone") or {}).get("per_institution") or {}:
        alone, together = _own_pair(results, name, "auroc")
        if alone is not None and together is not None:
            changes[name] = together - alone
    return changes


class OwnRow(NamedTuple):
    """An institution's own model and the shared one, on the institution's own hold-out.

    Attributes:
        units: its customers or cases.
        cases: labelled ones that the models are measured on; None where not known.
        precision: average precision alone without privacy, together, and used at home (where that
            was measured); None where not measured.
        found: the same of labelled cases found within the alert budget, of 1.
    """

    name: str
    units: int
    cases: int | None
    precision: tuple[float | None, ...]
    found: tuple[float | None, ...]


def own_rows(results: Results) -> list[OwnRow]:
    """Return each institution's own daily work, alone and together."""
    return [
        OwnRow(
            entry["name"],
            entry["units"],
            entry.get("measured_positives"),
            _own_values(results, entry["name"], "average_precision"),
            _own_values(results, entry["name"], "recall_at_budget"),
        )
        for entry in results.get("institutions") or ()
    ]


def at_home(results: Results) -> bool:
    """Tell whether the shared model was also measured as it is used at home."""
    return bool(results["models"].get("at_home"))


def _own_pair(results: Results, name: str, key: str) -> tuple[float | None, float | None]:
    """Return a metric on an institution's own hold-out: alone without privacy, and together."""
    alone, together = _own_values(results, name, key)[:2]
    return alone, together


def _own_values(results: Results, name: str, key: str) -> tuple[float | None, ...]:
    """Return the same and, where it was measured, of the shared model used at home."""
    asked = ("alone", "federated", *(("at_home",) if at_home(results) else ()))
    found = (
        ((results["models"].get(model) or {}).get("per_institution") or {}).get(name) or {}
        for model in asked
    )
    return tuple((one.get("own") or {}).get(key) for one in found)


def own_verdict(results: Results) -> str:
    """Say whether an institution finds more cases among its own units than without the others."""
    rows = [row for row in own_rows(results) if None not in row.found]
    if not rows:
        return answer(results)
    gain = (results.get("gain_at_home") or {}).get("recall_at_budget")
    return _home_verdict(rows, gain) if gain else _shared_verdict(results, rows)


def _home_verdict(rows: Sequence[OwnRow], gain: Mapping[str, float]) -> str:
    alone, shared, home = (
        100 * sum(float(row.found[at] or 0.0) for row in rows) / len(rows) for at in range(3)
    )
    value, low, high = (100 * gain[end] for end in ("value", "low", "high"))
    chance = "may be chance" if low <= 0 <= high else "more than chance"
    return (
        f"Of 100 of their own cases, institutions find {home:.0f} with the shared model used at "
        f"home, {alone:.0f} with their own best models ({value:+.1f}; {low:+.1f} to {high:+.1f} in "
        f"95 of 100: {chance}), {shared:.0f} with the shared one as it comes."
    )


def _shared_verdict(results: Results, rows: Sequence[OwnRow]) -> str:
    changes = [100 * (float(row.found[1] or 0.0) - float(row.found[0] or 0.0)) for row in rows]
    more, fewer = sum(c > 0 for c in changes), sum(c < 0 for c in changes)
    mean = sum(changes) / len(changes)
    own = (
        f"Among their own {units(results)}, of {len(changes)} institutions {fewer or 'none'} "
        f"{'finds' if fewer == 1 else 'find'} fewer and {more or 'none'} more cases with the "
        f"shared model than with their own (mean change {mean:+.0f} of 100)"
    )
    pooled = [_per_hundred(results, model) for model in ("federated", "alone")]
    if pooled[0] is None or pooled[1] is None:
        return f"{own}."
    return f"{own}; among everybody's it finds {pooled[0][1]} of 100, own models {pooled[1][1]}."


def in_vain(results: Results) -> str:
    """Return the unlabelled units under review in words: how many, whom most, whom too often.

    Of groups it says counts of the hold-out, not shares: most groups are small.
    """
    text = _vain_at_home(results) or _vain_of_all(results)
    rows = [row for row in _false_rates(results) if row.get("false_positives") is not None]
    rows.sort(key=_surely, reverse=True)
    if not text or not rows or not rows[0]["false_positives"]:
        return f"{text} People decide." if text else ""
    said = partial(_of_group, lives=(results.get("world") or {}).get("lives") or {})
    text += f" Most often these are {said(rows[0])}"
    times = _spared_times(results)
    often = [said(row) for row in rows[1:] if times.get(str(row["name"]), 0.0) > TOO_OFTEN]
    text += f", too often {' and '.join(often)}" if often else ""
    return f"{text}. People decide."


def _vain_at_home(results: Results) -> str:
    """Say how many of its own units an institution reviews and finds no known case."""
    share = alert_budget(results)
    pairs = [
        (home, alone)
        for entry in results.get("institutions") or ()
        for alone, _, home in [_own_values(results, entry["name"], "precision_at_budget")]
        if home is not None and alone is not None
    ] if at_home(results) and share else []  # fmt: skip
    if not pairs or share is None:
        return ""
    home, alone = (1000 * share * (1 - sum(side) / len(side)) for side in zip(*pairs, strict=True))
    return (
        f"Of 1,000 own {units(results)} {home:.1f} are reviewed at home but no known case (own "
        f"models {alone:.1f})."
    )


def _vain_of_all(results: Results) -> str:
    together, alone = _vain_of_thousand(results)
    if together is None:
        return ""
    text = f"Of 1,000 {units(results)} {together} are reviewed in vain"
    return f"{text} (own models {alone})." if alone is not None else f"{text}."


def _surely(row: Mapping[str, Any]) -> float:
    """Return the lower end of a group's rate of false positives (Wilson 1927, 95 %)."""
    many, z = _negatives(row), 1.96
    rate = int(row["false_positives"]) / many
    middle, half = (
        rate + z**2 / (2 * many),
        z * math.sqrt(rate * (1 - rate) / many + z**2 / 4 / many**2),
    )
    return (middle - half) / (1 + z**2 / many)


def _negatives(row: Mapping[str, Any]) -> int:
    return int(row["units"]) - int(row["positives"])


def _of_group(row: Mapping[str, Any], lives: Mapping[str, str]) -> str:
    name = cut(lives.get(str(row["name"])) or spoken(str(row["name"])), LONGEST_NAME)
    return f"{name} ({row['false_positives']} of {_negatives(row)})"


def _false_rates(results: Results) -> list[Mapping[str, Any]]:
    """Groups with a known false-positive rate, the highest first."""
    rows = (results.get("groups") or {}).get("rows") or []
    known = [row for row in rows if row.get("false_positive_rate") is not None]
    return sorted(known, key=lambda row: -float(row["false_positive_rate"]))


def _spared_times(results: Results) -> dict[str, float]:
    """Return how many times as often as other unlabelled units each spared group is reviewed."""
    rows = (results.get("groups") or {}).get("rows") or []
    return {
        str(row["name"]): float(row["times"]["value"])
        for row in rows
        if row["name"] in SPARED and row.get("times") is not None
    }


def several(results: Results) -> str:
    """Say at how many institutions units stand, and what multiplicity that needs; empty: unknown.

    Where that is more than the study's multiplicity it is a warning (`needs_more`).
    """
    found = (results.get("privacy") or {}).get("multiplicity")
    if not found:
        return ""
    who, counted = units(results), found["study"]
    whole = f"of {found['units']:,} {who}" if found["by"] == "id" else "rows"
    if needs_more(results):
        same = (
            "If one id is different people, write their ids apart (INSTITUTION-ID)."
            if found["by"] == "id"
            else "They are equal in everything; ids would tell for certain."
        )
        return (
            f"{found['beyond']:,} {whole} stand at up to {found['needed']} institutions, where the "
            f"study's multiplicity is {counted}: for the worst of them the promise is epsilon "
            f"{found['epsilon_of_worst']:.3g}, not {short(results['privacy']['epsilon'])}. Say "
            f"privacy.multiplicity = {found['needed']} in study and roster, or leave each with one "
            f"institution. {same}"
        )
    if found["several"] == 0:
        said = "No id stands at two institutions; people under several ids are not seen here."
        return said if found["by"] == "id" else ""
    if found["by"] != "id":
        return (
            f"{found['several']:,} rows equal a row of another institution in everything; only ids "
            "would tell whether they are the same."
        )
    return (
        f"{found['several']:,} {whole} stand at up to {found['needed']} institutions; the study's "
        f"multiplicity of {counted} counts them in."
    )


def needs_more(results: Results) -> bool:
    """Tell whether units stand at more institutions than the study's multiplicity counts in.

    Equal rows without ids may be chance: only where they are half of all are they one.
    """
    found = (results.get("privacy") or {}).get("multiplicity")
    if not found or found["needed"] <= found["study"]:
        return False
    return bool(found["by"] == "id" or 2 * found["beyond"] >= found["units"])


def promise(results: Results) -> str:
    """Return the promise in one sentence, with the units for whom it is weaker."""
    terms, one = results["privacy"], unit(results)
    text = (
        f"All that leaves changes odds of any guess about one {one} at most "
        f"{odds_factor(terms['epsilon'])} times, but for {one_in(terms['delta'])}"
    )
    twice = _twice(results)
    if twice:
        share = percent(results["world"]["at_two_banks"])
        text += f" ({odds_factor(twice)} times for {share} at two banks)"
    elif _in_full(results):
        text += " (at two banks too)"
    return text + "."


def invented(results: Results) -> str:
    """Return what an invented world tells beyond what its institutions know; empty without one."""
    facts = results.get("world")
    return f"Invented: nobody exists. {_knew(results)}" if facts else ""


def _knew(results: Results) -> str:
    """Say what institutions of a world knew when they learned, and who finds what they did not."""
    facts = results["world"]
    cases = f"{facts['positives']:,} cases"
    if not (known := facts.get("known")):
        return f"Banks know all {cases}, which no real bank does."
    text = f"Banks knew {known['cases']:,} of {cases}, and {known['mistaken']:,} wrongly"
    unknown = (results.get("groups") or {}).get("unknown") or {}
    if "at_home" in unknown and "alone" in unknown:
        text += (
            f"; of {unknown['of']:,} others held out queues find {unknown['at_home']:,} "
            f"(own models {unknown['alone']:,})"
        )
    return f"{text}."


def _learned_on(results: Results) -> str:
    """Say what counts as a case of an invented world; empty where institutions know all."""
    known = results["world"].get("known")
    if not known:
        return ""
    return (
        f"Labels are those of {known['day']}, when the banks learned: a case of which its bank did "
        "not know by then is none, in training and in all figures but those of unknown ones."
    )


def same_privacy(results: Results) -> str:
    """Together against alone under the same privacy."""
    pair = compare(results, "federated", "alone_dp")
    if pair is None:
        return ""
    return (
        f"It ranks {pair.words} models that each learns alone under the same privacy "
        f"({_both(results, 'alone_dp')})."
    )


def _both(results: Results, model: str) -> str:
    """Write AUROC and average precision of a model."""
    auroc, precision = (metric(results, model, k) for k in ("auroc", "average_precision"))
    return f"AUROC {decimals(auroc)}, average precision {decimals(precision)}"


def lookalikes(results: Results) -> str:
    """Groups with the most false positives, worst first; empty where no groups were given."""
    known = _false_rates(results)
    if not known:
        return ""
    worst = ", ".join(
        f"{cut(spoken(str(row['name'])), LONGEST_NAME)} {percent(row['false_positive_rate'])}"
        for row in known[:MOST_GROUPS]
    )
    more = len(known) - MOST_GROUPS
    rest = f", {more} more in the report" if more > 0 else ""
    return f"Reviewed although unlabelled, by group: {worst}{rest}."


def fared(results: Results) -> str:
    """Say on whom alerts fall, as the federation counted it; empty where it did not."""
    found = results.get("released_groups")
    if not found:
        return ""
    return "As released: " + "; ".join(group_lines(found)) + "."


def spared(results: Results) -> str:
    """Say how often the spared are reviewed, and who else is too often; empty if unknown."""
    rows = [row for row in _false_rates(results) if row.get("times") is not None]
    named = sorted((row for row in rows if row["name"] in SPARED), key=lambda row: row["name"])
    rest = [row for row in rows if row not in named and row.get("false_positives") is not None]
    often = [row for row in rest if row["times"]["value"] > TOO_OFTEN]
    said = [_times_of(row, percent(row["false_positive_rate"])) for row in named]
    said += [_times_of(row, f"{row['false_positives']} of {_negatives(row):,}") for row in often]
    if not said:
        return ""
    return f"Reviewed in vain, beside all other unlabelled {units(results)}: {'; '.join(said)}."


def _times_of(row: Mapping[str, Any], counted: str) -> str:
    value, low, high = (row["times"][end] for end in ("value", "low", "high"))
    verdict = times_verdict(Interval(value, low, high)).value
    times = f"{value:.1f} times ({low:.1f} to {high:.1f}, {verdict})"
    return f"{spoken(row['name'])} {counted}, {times}"


def readings(results: Results) -> str:
    """Say what it costs that whom a harmless reading fits comes last; empty if unknown."""
    found = results.get("groups") or {}
    recall, before = found.get("recall"), found.get("recall_by_score")
    if recall is None or before is None:
        return ""
    times = {str(row["name"]): row.get("times") for row in found["rows_by_score"]}
    earlier = [
        f"{spoken(name)} {times[name]['value']:.1f} times" for name in SPARED if times.get(name)
    ]
    beside = f", {', '.join(earlier)}" if earlier else ""
    return (
        f"Whom a harmless reading fits is looked at last: {percent(recall)} of the labelled are "
        f"found within the budget; by the score alone {percent(before)}{beside}."
    )


def world(results: Results) -> list[str]:
    """Describe the invented world and the cost of real prevalence; empty without one."""
    facts = results.get("world")
    if not facts:
        return []
    share = facts["positives"] / max(1, facts["customers"])
    made = (
        f"Invented: {facts['customers']:,} customers of {facts['banks']} banks, "
        f"{facts['transactions']:,} transactions in {facts['months']} months, "
        f"{facts['rings']:,} rings that use {percent(share)} of the customers. Nobody exists."
    )
    said = (made, _knew(results), _learned_on(results), _at_two(results), RARER)
    return list(filter(None, said))


def _at_two(results: Results) -> str:
    """Return the promise to a person who is a unit twice; empty where there is none."""
    twice, terms = _twice(results), results.get("privacy") or {}
    if not twice and not _in_full(results):
        return ""
    share = percent(results["world"]["at_two_banks"])
    if not twice:
        return (
            f"{share} of these customers bank at two of the banks, and the promise is to them too."
        )
    return (
        f"{share} of these customers bank at two of the banks and are counted twice: to them the "
        f"promise is epsilon {_bound(twice)}. A roster that says so (multiplicity 2) makes it "
        f"{short(terms['epsilon'])} for everybody, with twice the noise."
    )


def _bound(epsilon: float) -> str:
    """Write an epsilon that a promise keeps to, rounded up."""
    return f"{math.ceil(100 * epsilon) / 100:.2f}"


def _in_full(results: Results) -> bool:
    """Tell whether people of an invented world are at two institutions and the study says so."""
    found = (results.get("privacy") or {}).get("multiplicity") or {}
    return bool((results.get("world") or {}).get("at_two_banks")) and found.get("study", 1) > 1


def _twice(results: Results) -> float | None:
    """Return the epsilon of a person who is a unit twice; None where there is none."""
    terms = results.get("privacy") or {}
    share = (results.get("world") or {}).get("at_two_banks")
    if not share or terms.get("mu2_planned") is None or _in_full(results):
        return None
    # Twice a unit: the sum moves twice as far, so mu doubles.
    return float(epsilon_for(delta=terms["delta"], mu2=4 * terms["mu2_planned"]))


def asked(results: Results) -> str:
    """Say where NGOs and hotlines of an invented world found growth; empty where not asked."""
    found = (results.get("world") or {}).get("asked")
    if not found:
        return ""
    return (
        "NGOs and the hotline, asked together under a promise of their own: cases and calls "
        f"grow most in {cut(str(found['region']), LONGEST_NAME)}, from {found['before']:.0f} in "
        f"{found['first']} to {found['after']:.0f} in {found['last']} (noise: give or take "
        f"{found['margin']:.0f}, 95 times in 100)."
    )


def budget(results: Results) -> str:
    """The cases that a fixed number of reviews finds, together and alone; empty if unmeasured."""
    counts = [_per_hundred(results, model) for model in ("federated", "alone")]
    if counts[0] is None:
        return ""
    share = alert_budget(results)
    top = f"the {percent(share)} ranked highest" if share else "those ranked highest"
    precision, recall = counts[0]
    text = (
        f"If people review {top}, {precision} of 100 reviewed {units(results)} are labelled cases "
        f"and {recall} of 100 labelled cases are found"
    )
    text += f" (alone without privacy: {' and '.join(counts[1])})." if counts[1] else "."
    return text + _false_per_thousand(results)


def _false_per_thousand(results: Results) -> str:
    """Say how many are reviewed in vain among 1,000 units; empty where not measured."""
    together, alone = _vain_of_thousand(results)
    if together is None:
        return ""
    text = f" False positives per 1,000 {units(results)}: {together}"
    return text + (f" (alone {alone})." if alone is not None else ".")


def _vain_of_thousand(results: Results) -> tuple[str | None, str | None]:
    """False positives among 1,000 units at the alert budget, together and alone."""
    share = alert_budget(results)
    values = [metric(results, model, "precision_at_budget") for model in ("federated", "alone")]
    if share is None:
        return None, None
    together, alone = (None if v is None else f"{1000 * share * (1 - v):.1f}" for v in values)
    return together, alone


def _per_hundred(results: Results, model: str) -> tuple[str, str] | None:
    """Precision and recall at the alert budget, of 100; None where not measured."""
    values = [metric(results, model, f"{key}_at_budget") for key in ("precision", "recall")]
    precision, recall = (None if v is None else f"{100 * v:.0f}" for v in values)
    return None if precision is None or recall is None else (precision, recall)


def alert_budget(results: Results) -> float | None:
    """Share of units that people can review, where the study has one."""
    for part in ("released_metrics", "groups"):
        share = (results.get(part) or {}).get("alert_budget")
        if share is not None:
            return float(share)
    return None


def privacy(results: Results) -> list[str]:
    """The promise in words: epsilon, the best attacker, the rest if the masks fail."""
    terms = results["privacy"]
    one, factor = unit(results), odds_factor(terms["epsilon"])
    who = "This run" if protected(results) else "A protected run of this study"
    promise = (
        f"{who} promises epsilon {short(terms['epsilon'])}, delta {short(terms['delta'])}, for "
        f"all that leaves: the odds that one given {one}'s own records (not those of others) are "
        f"there change at most {factor} times (e^epsilon). Exactly: nothing seen is over "
        f"{factor} times as probable with them as without, plus {one_in(terms['delta'])}."
    )
    found = [promise]
    if (mu2 := terms.get("mu2_planned")) is not None:
        found.append(
            f"Someone who knows all else and would be right 50 times in 100 by tossing a coin is "
            f"right at most {best_guess(mu2)} times in 100."
        )
    if (bare := terms.get("epsilon_if_masks_fail")) is not None:
        found.append(
            "If every mask failed, each reply would still hold its own noise: "
            f"epsilon {short(bare)}, odds at most {odds_factor(bare)} times."
        )
    return found


def spent(results: Results) -> str:
    """The spent part of the plan."""
    terms = results["privacy"]
    if terms.get("epsilon_spent") is None:
        return ""
    return f"Spent: epsilon {short(terms['epsilon_spent'])} of {short(terms['epsilon'])}."


def drowned(results: Results) -> str:
    """Say that the federation's own measurement drowned in noise; empty where it did not."""
    told = (results.get("released_metrics") or {}).get("auroc") or {}
    low, high = told.get("low"), told.get("high")
    if low is None or high is None or high - low < DROWNED:
        return ""
    return (
        f"These figures drowned in noise: too few labelled {units(results)} were held out for what "
        "the study pays for measuring. The institutions would learn little from them; each can "
        "measure the model on its own hold-out, inside, at no privacy cost "
        "(`fieldfare institution evaluate`)."
    )


def participants(results: Results) -> int:
    """The number of institutions that took part."""
    given = results["privacy"].get("participants")
    if isinstance(given, int):
        return given
    return len(given) if given is not None else len(results["institutions"])
