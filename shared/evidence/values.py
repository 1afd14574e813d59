"""Everything that a pack's texts may fill in: figures, and words that follow from figures."""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from fieldfare.shared.audit.verdict import (
    AuditVerdict,
    RequiredCosigners,
    answerable,
    cosigners,
    cosigners_needed,
)
from fieldfare.shared.evidence.document import law_names, laws, texts
from fieldfare.shared.evidence.facts import EvidenceFacts, MakerRole, SoftwareFacts
from fieldfare.shared.evidence.study_values import (
    WINDOW_DAYS,
    delta_values,
    loss_values,
    noise_values,
    size_values,
    study_values,
    weaker_values,
)
from fieldfare.shared.finished_model.card_page import RATES, STATED
from fieldfare.shared.pages.words import decimals, percent, plain
from fieldfare.shared.privacy.discrete_noise import XI_LIMIT
from fieldfare.shared.privacy.gaussian import epsilon_for
from fieldfare.shared.protocol.plan import PICOMU2
from fieldfare.shared.terminal.texts import counted, utc_text

SHORT_HASH: Final = 16
NO_TRANSCRIPT: Final = "No transcript was given, so that no run was recomputed for this pack."
LOST: Final = (
    "The ledger lost releases (it was restored, or others showed them) and counts them as spent; "
    "when they were, and how many, it does not know."
)
NOT_STATED: Final = "UNKNOWN"  # what packaging tools once wrote where nobody said a licence
MOST_LICENCES: Final = 8
TENTH: Final = 0.1  # below it, percent have two digits
VERDICTS: Final = {
    AuditVerdict.FITS: "every signature, sum, step, figure and debit was recomputed and fits",
    AuditVerdict.AS_FAR_AS_KEPT: "signatures, order and debits fit; masked vectors were deleted or "
    "left out, so sums were not added up again",
    AuditVerdict.NOT_COSIGNED: "too few institutions co-signed the end of the log: ask them",
    AuditVerdict.DOES_NOT_FIT: "THE TRANSCRIPT DOES NOT FIT",
    AuditVerdict.TWO_STORIES: "the coordinator signed two logs of this run",
}
MAKERS: Final = {
    MakerRole.COORDINATOR: "the coordinator, from its own store",
    MakerRole.INSTITUTION: "an institution, from its own ledger and log",
    MakerRole.AUDITOR: "somebody with the transcript alone, who has no key of this federation",
}


def values_of(facts: EvidenceFacts) -> dict[str, Any]:
    """Return the facts as texts fill them in and as programs read them: plain values only."""
    study = facts.plan.study
    found = {
        "law": law_names(),
        "laws": [{"key": key, **said} for key, said in laws().items()],
        "maker": _maker(facts),
        "study": study_values(study),
        "loss": loss_values(facts),
        "delta": delta_values(study),
        "noise": noise_values(facts),
        "sizes": size_values(facts.plan),
        "weaker": weaker_values(facts),
        "run": _run(facts),
        "model": _model(facts),
        "own": _own(facts),
        "decisions": _decisions(facts),
        "logs": [_log(one) for one in facts.logs],
        "software": _software(facts.software),
        "questions": {"count": _questions()},
    }
    copied: dict[str, Any] = plain(found)
    return copied


def _questions() -> int:
    return sum(one["kind"] == "question" for one in texts("questions")["block"])


def _maker(facts: EvidenceFacts) -> dict[str, Any]:
    return {
        "role": facts.role.value,
        "name": facts.maker,
        "words": MAKERS[facts.role],
        "made": utc_text(facts.made),
    }


def _decisions(facts: EvidenceFacts) -> list[dict[str, str]]:
    """Return who decided what: people by number, in the order in which they first decided."""
    people = list(dict.fromkeys(one.who for one in facts.decisions if one.person))
    named = {who: f"person {number}" for number, who in enumerate(people, 1)}
    return [
        {
            "who": one.who if facts.names_people or not one.person else named[one.who],
            "what": one.what,
            "time": _moment(one.time),
        }
        for one in facts.decisions
    ]


def _moment(text: str) -> str:
    """Return a moment as the rest of the pack writes them; what is none stays as it is."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    return utc_text(found) if found.tzinfo else text


def _log(one: Any) -> dict[str, Any]:
    return {
        "name": one.name,
        "holds": one.holds,
        "entries": "" if one.entries is None else f"{one.entries:,}",
        "head": one.head[:SHORT_HASH],
        "kept": one.kept,
    }


# -- run ------------------------------------------------------------------------------------------


def _run(facts: EvidenceFacts) -> dict[str, Any]:
    report = facts.report
    found: dict[str, Any] = {
        "id": facts.run,
        "known": report is not None,
        "count": facts.institutions,
        "count_words": _count_words(facts),
        "counted": bool(facts.participants),
        "names": ", ".join(facts.participants),
        "institutions": list(facts.participants),
        "root": facts.root,
        "transcript": facts.transcript,
        "roster": facts.roster.hash,
        "roster_version": facts.roster.version,
        "times": [
            {
                "run": one.run,
                "began": utc_text(one.began),
                "ended": utc_text(one.ended) if one.ended else "not ended",
                "releases": one.releases,
            }
            for one in facts.times
        ],
        "times_words": _times_words(facts),
        "retention_words": _retention_words(facts),
        **_recomputed(facts),
    }
    return found


def _count_words(facts: EvidenceFacts) -> str:
    """Return how many take part; of a study that nobody answered yet, the fewest that may."""
    return f"{facts.institutions}" if facts.participants else f"at least {facts.institutions}"


def _recomputed(facts: EvidenceFacts) -> dict[str, Any]:
    report = facts.report
    if report is None:
        return {
            **dict.fromkeys(("state", "reason", "verdict", "model_hash", "failed_words"), ""),
            **dict.fromkeys(("steps", "planned_steps", "requests", "failed", "sums"), 0),
            **dict.fromkeys(("recomputed", "leaves", "cosigners", "needed"), 0),
            **dict.fromkeys(("recomputed_words", "rehearsal_words"), NO_TRANSCRIPT),
            "verdict_words": NO_TRANSCRIPT,
            "blame": "",
        }
    required = RequiredCosigners.ENOUGH
    verdict = VERDICTS[facts.verdict] if facts.verdict else ""
    return {
        "state": report.state,
        "reason": report.reason,
        "verdict": verdict,
        "model_hash": report.model,
        "steps": report.steps,
        "planned_steps": facts.plan.study.training.steps,
        "requests": report.requests,
        "failed": report.failed_attempts,
        "failed_words": f"{report.failed_attempts or 'none'} of them without a sum",
        "sums": report.sums,
        "recomputed": report.recomputed,
        "leaves": report.leaves,
        "cosigners": cosigners(report),
        "needed": cosigners_needed(report, required),
        "blame": report.blame.text if report.blame else "",
        "verdict_words": f"The audit of this run's transcript: {verdict}.",
        "recomputed_words": f"Of this run's {report.sums} sums, {report.recomputed} were added up "
        "again from the transcript, bit for bit.",
        "rehearsal_words": f"This run made {report.requests} requests, each in its transcript.",
    }


def _times_words(facts: EvidenceFacts) -> str:
    if facts.lost:
        return f"{_known_times(facts)} {LOST}"
    return _known_times(facts)


def _known_times(facts: EvidenceFacts) -> str:
    if not facts.times:
        return "When runs began and ended is not in a transcript; the coordinator's store has it."
    said = [
        f"run {one.run} from {utc_text(one.began)}"
        + (f" to {utc_text(one.ended)}" if one.ended else ", not ended")
        for one in facts.times
    ]
    own = ", from its first release to its last" if facts.own else ""
    return f"By the clock of {facts.maker}{own}: {'; '.join(said)}."


def _retention_words(facts: EvidenceFacts) -> str:
    if facts.retention_days is None:
        return "How long the coordinator keeps masked vectors is in its own settings and pack."
    return (
        f"The coordinator deletes masked vectors {counted(facts.retention_days, 'day')} after a "
        "run ended; hashes and signatures stay."
    )


# -- model ----------------------------------------------------------------------------------------


def _model(facts: EvidenceFacts) -> dict[str, Any]:
    metrics, groups = _metrics(facts), _groups(facts)
    card = facts.card
    rates = [
        {"title": title, "meaning": meaning, **metrics[key], **_texts(metrics[key])}
        for key, title, meaning in RATES
        if metrics
    ]
    return {
        "known": card is not None or bool(facts.report and facts.report.model),
        "hash": card.model.parameters if card else (facts.report.model if facts.report else ""),
        "entries": card.model.entries if card else facts.plan.training.parameter_entries,
        "finished": _moment(card.finished) if card else "",
        "rates": rates,
        "measured": bool(metrics),
        "calibration": [_row_texts(row) for row in metrics.get("calibration", [])],
        "groups": groups,
        "rate_count": len(rates),
        "group_count": len(groups),
        "limits": list(card.limits) if card else [],
        "conditions": list(card.conditions) if card else [],
        "fairness": list(card.fairness) if card else [],
        "utility_words": _utility_words(facts, rates),
        "groups_words": _groups_words(facts, groups),
    }


def _row_texts(row: Mapping[str, float]) -> dict[str, Any]:
    """Return a row of the calibration with its figures in words, small ones with two digits."""
    keys = ("predicted", "observed", "low", "high")
    return {**row, **{f"{key}_text": _small(row[key]) for key in keys}}


def _small(share: float) -> str:
    return percent(share) if share >= TENTH or share <= 0 else f"{100 * share:.2g}%"


def _texts(interval: Mapping[str, float]) -> dict[str, str]:
    return {f"{key}_text": decimals(interval[key], 2) for key in ("value", "low", "high")}


def _metrics(facts: EvidenceFacts) -> dict[str, Any]:
    """Return the released metrics, of the transcript where there is one; empty: none, or hidden."""
    if facts.report is not None and facts.report.metrics:
        found: dict[str, Any] = json.loads(facts.report.metrics)
        return found
    if facts.card is not None and facts.card.metrics is not None:
        return facts.card.metrics.model_dump(mode="json")
    return {}


def _groups(facts: EvidenceFacts) -> list[dict[str, Any]]:
    """Return one row for each group: name, share of alerts, false positives, verdict."""
    found: Mapping[str, Any] | None = facts.report.groups if facts.report else None
    if found is None and facts.card is not None and facts.card.groups is not None:
        found = facts.card.groups.model_dump(mode="json")
    if found is None:
        return []
    return [
        {
            "column": one["column"],
            "name": row["name"],
            "units": f"{row['units']['value']:,.0f}",
            "alerts": _rate(row["alert_rate"]),
            "wrong": _rate(row["false_positive_rate"]),
            "verdict": str(row["verdict"]),
        }
        for one in found["columns"]
        for row in one["rows"]
    ]


def _rate(rate: Mapping[str, float] | None) -> str:
    if rate is None:
        return "hidden by noise"
    return f"{percent(rate['value'])} [{percent(rate['low'])}, {percent(rate['high'])}]"


def _utility_words(facts: EvidenceFacts, rates: list[dict[str, Any]]) -> str:
    if not facts.plan.study.trains:
        return "Answers are published with intervals that include the noise; no model is trained."
    if not rates:
        return "No evaluation is known here, or noise hides it: nothing is claimed."
    said = "; ".join(
        f"{one['title']} {decimals(one['value'], 2)} [{decimals(one['low'], 2)}, "
        f"{decimals(one['high'], 2)}]"
        for one in rates
    )
    return (
        f"On the hold-outs, through the same door, with intervals that include the noise: {said}. "
        f"{_figures_words(facts)}"
    )


def _figures_words(facts: EvidenceFacts) -> str:
    """Return what the metrics rest on: the audit of a transcript, or what the maker knew before."""
    report = facts.report
    if report is None or not report.metrics:
        return f"These figures: {facts.figures or STATED}."
    if report.measured:
        return "They were read off the evaluation's sum again when this pack was made."
    signed = answerable(report)
    others = f"in a log signed by {signed} institutions that recomputed the run"
    return f"These figures: {others if signed else STATED}."


def _groups_words(facts: EvidenceFacts, groups: list[dict[str, Any]]) -> str:
    if not facts.plan.study.groups:
        return "The study counts no alerts by group of people."
    if not groups:
        return "Alerts are counted by group of people; no result is known here."
    told = Counter(one["verdict"] for one in groups)
    said = "; ".join(
        f'"{verdict}" for {counted(count, "group")}' for verdict, count in sorted(told.items())
    )
    return (
        f"Alerts were counted in {counted(len(groups), 'group')} of people. Whether those without "
        f"a label become alerts more than twice as often as the others': {said}."
    )


# -- own ------------------------------------------------------------------------------------------


def _own(facts: EvidenceFacts) -> dict[str, Any] | None:
    own = facts.own
    if own is None:
        return None

    def worth(cost: int) -> float:
        spent = cost / PICOMU2
        return epsilon_for(delta=own.delta, mu2=spent, xi=XI_LIMIT) if cost else 0.0

    return {
        "policy": own.policy,
        "delta": own.delta,
        "delta_text": f"{own.delta:g}",
        "days": WINDOW_DAYS,
        "study_epsilon": own.study_epsilon,
        "yearly_epsilon": own.yearly_epsilon,
        "lifetime_epsilon": own.lifetime_epsilon,
        "yearly_spent": worth(own.yearly),
        "lifetime_spent": worth(own.lifetime),
        "two_persons": own.two_persons,
        "lost": facts.lost,
        "minimum_units": own.minimum_units,
        "entries": own.ledger_entries,
        "epoch": own.ledger_epoch,
        "head": own.ledger_head,
        "head_short": own.ledger_head[:SHORT_HASH],
    }


def _software(software: SoftwareFacts) -> dict[str, Any]:
    stated = [one for one in software.packages if one.licence and one.licence != NOT_STATED]
    licences = Counter(one.licence for one in stated)
    return {
        "version": software.version,
        "python": software.python,
        "digest": software.digest,
        "count": len(software.packages),
        "licences": _licences(licences),
        "unlicensed": ", ".join(one.name for one in software.packages if one not in stated)
        or "none",
        "packages": [
            {"name": one.name, "version": one.version, "licence": one.licence or "not stated"}
            for one in software.packages
        ],
    }


def _licences(licences: Counter[str]) -> str:
    """Return the commonest licences, how often each is stated, and how many packages are left."""
    most = licences.most_common(MOST_LICENCES)
    others = sum(licences.values()) - sum(count for _, count in most)
    said = [f"{name} {count} x" for name, count in most]
    return ", ".join([*said, *([f"others {others} x, in the table"] if others else [])])
