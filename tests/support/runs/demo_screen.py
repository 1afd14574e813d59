"""What the demo's screen says, set beside its run's files: each sentence is true, or named.

Who is a case, who is known and how many are reviewed is counted anew from the units and the world's
truth; cases found by models that stay at home come from results.json, which has them by bank.
Nothing here is shared with what writes the sentences.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
from scipy.optimize import brentq
from scipy.stats import binom, norm
from tests.support.runs.demo_home import untrue_home

from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.population import RecordsChoice, load_population

HEADS: Final = ("Privacy", "Reviews", "World", "Open", "Alerts")
LINES: Final = 20
COLUMNS: Final = 80
UNKNOWN: Final = "unknown_case"
SHOWN: Final = 4  # banks, or one less and how many are left
SPARED: Final = ("independent_adult_worker", "survivor_rebuilding")
_SIGNED: Final = r"([+-][\d,]+)"

Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Bank:
    """One bank's held-out customers; kinds of all of its customers, and who of them is known."""

    labels: Values
    kinds: Values
    units: Values
    everybody: Values
    known: Values


@dataclass(frozen=True)
class DemoRun:
    """A run's own figures, read off its files.

    Attributes:
        folder: of its files.
        study: what was run.
        banks: by name.
        results: results.json.
    """

    folder: Path
    study: Study
    banks: dict[str, Bank]
    results: dict[str, Any]

    @classmethod
    def of(cls, folder: Path, study: Study, seed: int) -> "DemoRun":
        """Read the files of a run of a seed."""
        units = folder / "units.parquet"
        choice = RecordsChoice((str(units),), institution_column="institution")
        population = load_population(study, choice, seed=seed)
        table = pq.read_table(units, columns=["institution", "persona"]).to_pydict()
        owners, kinds = (np.array(table[name]) for name in ("institution", "persona"))
        banks = {}
        for name, records in population.records.items():
            held = population.holdout[name]
            data = records.data.select(held)
            mine, ids = kinds[owners == name], np.array(records.units)[held]
            known = records.data.labels == 1
            banks[name] = Bank(data.labels.astype(int), mine[held], ids, mine, known)
        results = json.loads((folder / "results.json").read_text("utf-8"))
        return cls(folder, study, banks, results)

    @property
    def hidden(self) -> dict[str, tuple[int, int, int]]:
        """Return by bank whom it does not know as a case: customers, cases, and reviews of them."""
        found = {}
        for name, bank in self.banks.items():
            free = int((~bank.known).sum())
            reviews = max(1, round(self.study.evaluation.alert_budget * free))
            found[name] = (free, int((bank.everybody == UNKNOWN).sum()), reviews)
        return found

    def reviewed(self) -> dict[str, tuple[int, int]]:
        """Return by kind of life how many are reviewed in vain, of how many held out unlabelled.

        Queues are results.json's; who is held out is counted here.
        """
        labels, kinds = (
            np.concatenate([getattr(one, name) for one in self.banks.values()])
            for name in ("labels", "kinds")
        )
        told = (labels == 0) & (kinds != UNKNOWN)
        names, many = np.unique(kinds[told], return_counts=True)
        queued = {row["name"]: row["false_positives"] for row in self.results["groups"]["rows"]}
        return {str(n): (queued.get(str(n), 0), int(of)) for n, of in zip(names, many, strict=True)}

    def alerts(self) -> int:
        """Return how many held-out customers banks review in all."""
        share = self.study.evaluation.alert_budget
        return sum(max(1, round(share * one.labels.size)) for one in self.banks.values())


def untrue(run: DemoRun, screen: str) -> list[str]:
    """Return what a screen says that its run does not bear out, in words; empty if all is true."""
    lines = [line.rstrip() for line in screen.splitlines() if line.strip()]
    wide = [line for line in lines if len(line) > COLUMNS]
    found = [f"{len(line)} columns: {line}" for line in wide]
    if len(lines) > LINES:
        found.append(f"{len(lines)} lines")
    top, said = _split(lines)
    cut = next((n for n, line in enumerate(top) if line.startswith("each institution")), len(top))
    found += _answer(run, " ".join(line.strip() for line in top[1:cut]))
    found += _table(run, [top[0], *top[cut:]])
    for head in HEADS:
        if head not in said:
            found.append(f"{head}: not there")
            continue
        found += [f"{head}: {what}" for what in _CHECKS[head](run, said[head])]
    return found + [f"unknown heading {head}" for head in said if head not in HEADS]


def _split(lines: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the lines above the sentences, and the sentences by their heading."""
    top: list[str] = []
    said: dict[str, str] = {}
    for line in lines:
        head = re.match(r"(Reviews|Privacy|Warning|World|Open|Alerts) +(.*)", line)
        if head:
            said[head[1]] = head[2].strip()
        elif said:
            last = list(said)[-1]
            said[last] = f"{said[last]} {line.strip()}"
        else:
            top.append(line)
    return top, said


def _table(run: DemoRun, top: list[str]) -> Iterator[str]:
    exact = run.results["privacy"]["masked"] and run.results["privacy"]["noise"] == "exact"
    how = "noise and masks as deployed; all records were on this one machine."
    if exact != (top[0] == f"{run.study.name}: {how}"):
        yield f"the kind of run: {top[0]}"
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in top[3:]}
    told = {row["name"]: row for row in run.results["found"]["institutions"]}
    shown = sorted(run.banks)
    left = len(shown) - (SHOWN - 1) if len(shown) > SHOWN else 0
    for name in shown[: len(shown) - left]:
        row = told[name]
        yield from (f"{name}: {what}" for what in _check_counts(run, name, row))
        low, high = _ends(row["only_together"], row["only_alone"])
        more = row["together"] - row["alone"]
        verdict = "gains" if round(low) > 0 else "loses" if round(high) < 0 else "cannot be told"
        both = f"{row['alone']}, {row['together']}"
        expected = f"{row['cases']:,} {both} {more:+} ({low:+.0f} to {high:+.0f}) {verdict}"
        if rows.pop(name, "") != expected:
            yield f"{name}: expected {expected}"
    if rows != ({str(left): "in the report"} if left else {}):
        yield f"rows of others: {rows}"


def _check_counts(run: DemoRun, name: str, row: dict[str, Any]) -> Iterator[str]:
    """Check a bank's counts against the world's truth, and against each other."""
    said = tuple(row[key] for key in ("customers", "cases", "reviews"))
    if said != run.hidden[name]:
        yield f"{said}, expected {run.hidden[name]}"
    if row["known"] != int(run.banks[name].known.sum()):
        yield f"{row['known']} known"
    if row["together"] - row["alone"] != row["only_together"] - row["only_alone"]:
        yield "what one side alone finds is no difference"
    if not max(row["alone"], row["together"], row["shared"]) <= min(row["cases"], row["reviews"]):
        yield "more found than there are"


def _ends(more: int, fewer: int) -> tuple[float, float]:
    """Return 95 % of how many cases more are found together: Clopper and Pearson, by search."""
    many = more + fewer
    low = brentq(lambda p: binom.sf(more - 1, many, p) - 0.025, 0, 1) if more else 0.0
    high = brentq(lambda p: binom.cdf(more, many, p) - 0.025, 0, 1) if fewer else 1.0
    return many * (2 * float(low) - 1), many * (2 * float(high) - 1)


def _near(said: str, value: float, places: int) -> bool:
    return bool(abs(float(said) - value) <= 0.51 * 10.0**-places)


def _answer(run: DemoRun, text: str) -> Iterator[str]:
    """Check the sentence by counts of results.json, and those by the world's truth."""
    found = re.fullmatch(
        r"Of ([\d,]+) cases that no bank knows, ([\d,]+) (more|fewer) are found by reviewing "
        rf"([\d.]+)%: ([\d,]+) alone, ([\d,]+) together \(difference {_SIGNED}, {_SIGNED} to "
        rf"{_SIGNED} in 95 of 100: (may be|more than) chance\)\. Of (\d+) institutions (\d+) "
        r"gains?, (\d+) loses?, of (\d+) it cannot be told\.",
        text,
    )
    if not found:
        yield f"not understood: {text}"
        return
    rows = run.results["found"]["institutions"]
    cases = sum(many for _, many, _ in run.hidden.values())
    alone, together, more, fewer = (
        sum(row[key] for row in rows)
        for key in ("alone", "together", "only_together", "only_alone")
    )
    low, high = _ends(more, fewer)
    each = [_ends(row["only_together"], row["only_alone"]) for row in rows]
    gain, lose = sum(round(one) > 0 for one, _ in each), sum(round(one) < 0 for _, one in each)
    apart, chance = together - alone, "may be" if low <= 0 <= high else "more than"
    expected = [
        f"{cases:,}", f"{abs(apart):,}", "fewer" if apart < 0 else "more",
        f"{100 * run.study.evaluation.alert_budget:.1f}", f"{alone:,}", f"{together:,}",
        f"{apart:+.0f}", f"{low:+.0f}", f"{high:+.0f}", chance,
        str(len(run.banks)), str(gain), str(lose), str(len(rows) - gain - lose),
    ]  # fmt: skip
    if list(found.groups()) != expected:
        yield f"{found.groups()}, expected {expected}"


def _reviews(run: DemoRun, text: str) -> Iterator[str]:
    found = re.fullmatch(
        r"Of ([\d,]+) reviews ([\d,]+) meet no such case \(([\d,]+) alone\)\."
        r"(?: Of those held out, most often these are ([a-z -]+) \((\d+) of (\d+)\)"
        r"(?:, too often (.+?))?\.)? People decide\.",
        text,
    )
    if not found:
        yield f"not understood: {text}"
        return
    told = run.results["found"]
    reviews = sum(many for _, _, many in run.hidden.values())
    vain = [reviews, reviews - told["together"], reviews - told["alone"]]
    if [int(one.replace(",", "")) for one in found.groups()[:3]] != vain:
        yield f"{found.groups()[:3]}, expected {vain}"
    counted = run.reviewed()
    queued = sum(wrong for wrong, _ in counted.values())
    if queued > run.alerts() + len(run.banks):
        yield f"{queued} reviewed in vain, and {run.alerts()} in all"
    if found[4]:
        said = run.results["world"]["lives"]
        yield from _groups({said[name]: pair for name, pair in counted.items()}, found, said)
    elif any(wrong for wrong, _ in counted.values()):
        yield "nobody is named, and somebody is reviewed in vain"


def _groups(
    counted: dict[str, tuple[int, int]], found: re.Match[str], lives: dict[str, str]
) -> Iterator[str]:
    """Check whom queues review most, and who of the spared is named as too often."""
    first = found[4]
    if counted.get(first) != (int(found[5]), int(found[6])):
        yield f"{first}: {found[5]} of {found[6]}, expected {counted.get(first)}"
    worst = max(counted, key=lambda name: _least(*counted[name]))
    if first != worst:
        yield f"most is said of {first}, and {worst} is reviewed more surely"
    spared = [lives[name] for name in SPARED]
    times = {name: _times(counted, name) for name in spared if counted.get(name)}
    sure = {name for name, value in times.items() if value > 2.05} - {first}
    may = {name for name, value in times.items() if value > 1.95} - {first}
    named = re.findall(r"([a-z -]+?) \((\d+) of (\d+)\)", (found[7] or "").replace(" and ", " "))
    said = {name.strip(): (int(w), int(n)) for name, w, n in named}
    if not sure <= set(said) <= may or said != {name: counted[name] for name in said}:
        yield f"too often: {said}, expected {sorted(sure)}"


def _times(counted: dict[str, tuple[int, int]], name: str) -> float:
    """Return how many times as often as all others a kind is reviewed in vain."""
    wrong, many = counted[name]
    others, rest = (sum(pair[at] for pair in counted.values()) for at in (0, 1))
    return (wrong / max(many, 1)) / max((others - wrong) / max(rest - many, 1), 1e-9)


def _least(wrong: int, many: int) -> float:
    """Return the least rate under which so many would be seen once in forty times (normal)."""
    if not wrong:
        return 0.0
    rate = wrong / many
    gap = lambda p: (rate - p) / math.sqrt(p * (1 - p) / many) - 1.96  # noqa: E731
    return float(brentq(gap, 1e-9, rate)) if wrong < many else many / (many + 1.96**2)


def _privacy(run: DemoRun, text: str) -> Iterator[str]:
    found = re.fullmatch(
        r"All that leaves changes odds of any guess about one customer at most ([\d.]+) times, "
        r"but for 1 in ([\d,]+)(?: \(([\d.]+) times for ([\d.]+)% at two banks\))?\.",
        text,
    )
    if not found:
        yield f"not understood: {text}"
        return
    promised = run.study.privacy
    if not 0 <= float(found[1]) - math.exp(promised.epsilon) < 0.01:
        yield f"{found[1]} times, e^epsilon is {math.exp(promised.epsilon):.4f}"
    if int(found[2].replace(",", "")) > 1 / promised.delta + 0.5:
        yield f"1 in {found[2]}, delta is {promised.delta}"
    share = _at_two_banks(run)
    if (found[3] is None) != (share == 0 or promised.multiplicity > 1):
        yield f"{share:.3f} bank at two, and of them is said: {found[3]}"
    if found[3] is not None:
        if not _near(found[4], 100 * share, 1):
            yield f"{found[4]}% at two banks, expected {100 * share:.2f}"
        mu = brentq(lambda m: _delta(promised.epsilon, m) - promised.delta, 1e-3, 20)
        twice = brentq(lambda e: _delta(e, 2 * mu) - promised.delta, 1e-3, 100)
        if not 0 <= float(found[3]) - math.exp(twice) + 1e-4 < 0.02:
            yield f"{found[3]} times at two banks, expected {math.exp(twice):.4f}"


def _delta(epsilon: float, mu: float) -> float:
    """Dong, Roth, Su 2022, corollary 2.13."""
    far = math.exp(epsilon) * norm.cdf(-epsilon / mu - mu / 2)
    return float(norm.cdf(-epsilon / mu + mu / 2) - far)


def _at_two_banks(run: DemoRun) -> float:
    truth = pq.read_table(run.folder / "world" / "truth" / "customers.parquet").to_pydict()
    persons = np.array(
        [p for p, at in zip(truth["person"], truth["institution"], strict=True) if at in run.banks]
    )
    times = np.bincount(persons)
    return float(times[times > 1].sum() / persons.size)


def _world(run: DemoRun, text: str) -> Iterator[str]:
    found = re.fullmatch(
        r"Invented: nobody exists\. Banks knew ([\d,]+) of ([\d,]+) cases, and ([\d,]+) wrongly\.",
        text,
    )
    if not found:
        yield f"not understood: {text}"
        return
    cases, labelled = _cases(run), _labelled(run)
    unknown = sum(many for _, many, _ in run.hidden.values())
    counted = [len(cases & labelled), len(cases), len(labelled - cases)]
    said = [int(one.replace(",", "")) for one in found.groups()]
    if said != counted:
        yield f"{said}, expected {counted}"
    if unknown != len(cases - labelled):
        yield f"{unknown} cases are unknown by the units, {len(cases - labelled)} by the truth"


def _cases(run: DemoRun) -> set[tuple[str, str]]:
    """Return who serves a ring, by the world's truth: bank and customer."""
    truth = pq.read_table(run.folder / "world" / "truth" / "customers.parquet").to_pylist()
    return {
        (row["institution"], row["customer_id"])
        for row in truth
        if row["label"] == 1 and row["institution"] in run.banks
    }


def _labelled(run: DemoRun) -> set[tuple[str, str]]:
    """Return whom the banks' newest labels call a case, a year after the window's end."""
    day = (date(2025, 3, 31) + timedelta(days=365)).isoformat()
    newest: dict[tuple[str, str], int] = {}
    for bank in run.banks:
        table = pq.read_table(run.folder / "world" / bank / "labels.parquet")
        for row in sorted(table.to_pylist(), key=lambda one: one["observed_at"]):
            if row["observed_at"].isoformat() <= day:
                newest[bank, row["subject_id"]] = row["value"]
    return {who for who, value in newest.items() if value == 1}


def _open(run: DemoRun, text: str) -> Iterator[str]:
    found = re.fullmatch(r"xdg-open (\S+) \(--details prints every figure\)", text)
    page = run.folder / "report.html"
    if not found or Path(found[1]).resolve() != page.resolve():
        yield f"{text}, the page is {page}"
    elif "<html" not in page.read_text("utf-8")[:1000]:
        yield f"{page} is no page"


def _alerts(run: DemoRun, text: str) -> Iterator[str]:
    found = re.fullmatch(r"(\S+) console --home (\S+)", text)
    home = run.folder / "bank-a"
    if not found or Path(found[2]).resolve() != home.resolve():
        yield f"{text}, the home is {home}"
        return
    bank = run.banks[home.name]
    held = dict(zip(bank.units.tolist(), bank.labels.tolist(), strict=True))
    yield from untrue_home(found[1], home, held, run.folder, (run.study, run.results))


_CHECKS: Final[dict[str, Callable[[DemoRun, str], Iterator[str]]]] = {
    "Reviews": _reviews,
    "Privacy": _privacy,
    "World": _world,
    "Open": _open,
    "Alerts": _alerts,
}
