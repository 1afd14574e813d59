"""What the demo's screen says, set beside its run's files: each sentence is true, or named.

Counts, scores and rates of the shared model are computed anew from the units, the model's file and
the world's truth; figures of models that stay at home come from results.json, which has them by
institution. Nothing here is shared with what writes the sentences.
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
from scipy.stats import norm
from tests.support.runs.demo_home import untrue_home

from fieldfare.shared.models import model_for
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.model_scores import read_model
from fieldfare.simulations.federation.population import RecordsChoice, load_population

HEADS: Final = ("Answer", "Reviews", "Privacy", "World", "Open", "Alerts")
LINES: Final = 20
COLUMNS: Final = 80
UNKNOWN: Final = "unknown_case"
FEWEST: Final = 5  # held-out cases of which the table says figures
SPARED: Final = ("independent_adult_worker", "survivor_rebuilding")
_NUMBER: Final = r"(-|[+-]?[\d.]+)"

Values = np.ndarray[Any, Any]
Figures = dict[str, float | None]
"""By bank; None where no case is held out."""


@dataclass(frozen=True)
class Bank:
    """One bank's held-out customers under the shared model."""

    scores: Values
    labels: Values
    kinds: Values
    customers: int
    units: Values

    def found(self, budget: float) -> float | None:
        """Return the share of its cases among its highest scores; None where it has none."""
        if not self.labels.any():
            return None
        top = np.argsort(-self.scores, kind="stable")[: max(1, round(budget * self.labels.size))]
        return float(self.labels[top].sum() / self.labels.sum())


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
        parameters, model = read_model(folder / "model.safetensors", study), model_for(study)
        banks = {}
        for name, records in population.records.items():
            held = population.holdout[name]
            data = records.data.select(held)
            scores = model.scores(parameters, data)
            mine, ids = kinds[owners == name][held], np.array(records.units)[held]
            banks[name] = Bank(scores, data.labels.astype(int), mine, len(records), ids)
        results = json.loads((folder / "results.json").read_text("utf-8"))
        return cls(folder, study, banks, results)

    def own(self, model: str, key: str) -> Figures:
        """Return a figure of models of one kind on each bank's own hold-out."""
        rows = self.results["models"][model]["per_institution"]
        return {name: row["own"][key] for name, row in rows.items()}

    def recall(self) -> Figures:
        """Return the share of own cases that the shared model finds, by bank."""
        return {n: one.found(self.study.evaluation.alert_budget) for n, one in self.banks.items()}

    @property
    def cases(self) -> list[int]:
        """Return how many cases banks have held out, those that have any."""
        return [int(one.labels.sum()) for one in self.banks.values() if one.labels.any()]

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
    found += _table(run, top)
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
        head = re.match(r"(Answer|Reviews|Privacy|Warning|World|Open|Alerts) +(.*)", line)
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
    budget = f"{100 * run.study.evaluation.alert_budget:.1f}%"
    if budget not in top[1]:
        yield f"the alert budget is {budget}: {top[1]}"
    models = ("alone", "federated", "at_home")
    recall: dict[str, Figures] = {"federated": run.recall()}
    for model in ("alone", "at_home"):
        recall[model] = run.own(model, "recall_at_budget")
    rows = {line.split()[0]: line.split()[1:] for line in top[3:]}
    shown = sorted(run.banks)
    if set(rows) != set(shown):
        yield f"rows of {sorted(rows)}, banks are {shown}"
    for name, bank in run.banks.items():
        expected = [f"{bank.customers:,}", f"{int(bank.labels.sum()):,}"]
        figures = [(recall[model][name], 100, 0) for model in models]
        few = int(bank.labels.sum()) < FEWEST
        expected += ["-" if few else _shown(*one) for one in figures]
        if [cell.rstrip(",") if "," in cell[-1:] else cell for cell in rows[name]] != expected:
            yield f"{name}: {rows[name]}, expected {expected}"


def _shown(value: float | None, times: int, places: int) -> str:
    return "-" if value is None else f"{times * value:.{places}f}"


def _mean(values: Figures) -> float:
    known = [value for value in values.values() if value is not None]
    return sum(known) / len(known)


def _near(said: str, value: float, places: int) -> bool:
    return bool(abs(float(said) - value) <= 0.51 * 10.0**-places)


def _answer(run: DemoRun, text: str) -> Iterator[str]:
    found = re.fullmatch(
        r"Of 100 of their own cases, institutions find (\d+) with the shared model used at home, "
        rf"(\d+) with their own best models \({_NUMBER}; {_NUMBER} to {_NUMBER} in 95 of 100: "
        r"(may be chance|more than chance)\), (\d+) with the shared one as it comes\.",
        text,
    )
    if not found:
        yield f"not understood: {text}"
        return
    home, alone = (100 * _mean(run.own(m, "recall_at_budget")) for m in ("at_home", "alone"))
    shared = 100 * _mean(run.recall())
    for what, said, value, places in (
        ("at home", found[1], home, 0), ("own best", found[2], alone, 0),
        ("difference", found[3], home - alone, 1), ("as it comes", found[7], shared, 0),
    ):  # fmt: skip
        if not _near(said, value, places):
            yield f"{what}: {said}, expected {value:.2f}"
    low, high = float(found[4]), float(found[5])
    if not low <= float(found[3]) <= high:
        yield f"{found[3]} lies outside {low} to {high}"
    half = 196 * math.sqrt(sum(0.5 / n for n in run.cases)) / len(run.cases)
    if high - low > 2 * half:  # no two models can differ that much by chance of the held-out
        yield f"interval {low} to {high} is wider than two coins for each case, {2 * half:.1f}"
    if (found[6] == "may be chance") != (low <= 0 <= high):
        yield f"{found[6]} beside {low} to {high}"


def _reviews(run: DemoRun, text: str) -> Iterator[str]:
    found = re.fullmatch(
        r"Of 1,000 own customers ([\d.]+) are reviewed at home but no known case \(own "
        r"models ([\d.]+)\)\."
        r"(?: Most often these are ([a-z -]+) \((\d+) of (\d+)\)(?:, too often (.+?))?\.)?"
        r" People decide\.",
        text,
    )
    if not found:
        yield f"not understood: {text}"
        return
    thousand = 1000 * run.study.evaluation.alert_budget
    for said, model in ((found[1], "at_home"), (found[2], "alone")):
        value = thousand * (1 - _mean(run.own(model, "precision_at_budget")))
        if not _near(said, value, 1):
            yield f"in vain, {model}: {said}, expected {value:.2f}"
    counted = run.reviewed()
    queued = sum(wrong for wrong, _ in counted.values())
    if queued > run.alerts() + len(run.banks):
        yield f"{queued} reviewed in vain, and {run.alerts()} in all"
    if found[3]:
        said = run.results["world"]["lives"]
        yield from _groups({said[name]: pair for name, pair in counted.items()}, found, said)
    elif any(wrong for wrong, _ in counted.values()):
        yield "nobody is named, and somebody is reviewed in vain"


def _groups(
    counted: dict[str, tuple[int, int]], found: re.Match[str], lives: dict[str, str]
) -> Iterator[str]:
    """Check whom queues review most, and who of the spared is named as too often."""
    first = found[3]
    if counted.get(first) != (int(found[4]), int(found[5])):
        yield f"{first}: {found[4]} of {found[5]}, expected {counted.get(first)}"
    worst = max(counted, key=lambda name: _least(*counted[name]))
    if first != worst:
        yield f"most is said of {first}, and {worst} is reviewed more surely"
    spared = [lives[name] for name in SPARED]
    times = {name: _times(counted, name) for name in spared if counted.get(name)}
    sure = {name for name, value in times.items() if value > 2.05} - {first}
    may = {name for name, value in times.items() if value > 1.95} - {first}
    named = re.findall(r"([a-z -]+?) \((\d+) of (\d+)\)", (found[6] or "").replace(" and ", " "))
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
        r"Invented: nobody exists\. Banks knew ([\d,]+) of ([\d,]+) cases, and ([\d,]+) wrongly; "
        r"of ([\d,]+) others held out queues find ([\d,]+) \(own models ([\d,]+)\)\.",
        text,
    )
    if not found:
        yield f"not understood: {text}"
        return
    cases, labelled = _cases(run), _labelled(run)
    unknown = sum(int((one.kinds == UNKNOWN).sum()) for one in run.banks.values())
    queued = run.results["groups"]["unknown"]
    counted = [len(cases & labelled), len(cases), len(labelled - cases), unknown]
    counted += [queued["at_home"], queued["alone"]]
    said = [int(one.replace(",", "")) for one in found.groups()]
    if said != counted:
        yield f"{said}, expected {counted}"
    positives = sum(int(one.labels.sum()) for one in run.banks.values())
    held = sum(one.labels.size for one in run.banks.values())
    if unknown + positives > held or max(queued["at_home"], queued["alone"]) > unknown:
        yield f"{queued} of {unknown} unknown ones, {held} held out"


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
    "Answer": _answer,
    "Reviews": _reviews,
    "Privacy": _privacy,
    "World": _world,
    "Open": _open,
    "Alerts": _alerts,
}
