"""Invented rows on joining: what each model reaches at each institution of each world."""

from typing import Any

import numpy as np

from fieldfare.shared.joining.figures import Facts, Figures, figures
from fieldfare.shared.joining.rows import (
    RESAMPLES,
    KindRow,
    ModelReach,
    MonthsRow,
    PairedDraws,
    PairedRow,
)
from fieldfare.shared.study.study import Study

NAMES = ("bank-a", "bank-b", "bank-c")
GOOD = {"alone": 0.5, "shared": 0.45, "at_home": 0.55, "pooled": 0.6, "placebo": 0.51}


def facts(**given: Any) -> Facts:
    """Facts of a small study."""
    return Facts(
        **{
            "study": "five banks", "study_id": "3f" * 32, "units": "customers", "unit": "customer",
            "epsilon": 1.0, "delta": 1e-5, "mu2": 0.07, "budget": 0.02, **given,
        }
    )  # fmt: skip


def paired(name: str = "bank-a", seed: int = 0, labels: float = 1.0, **given: Any) -> PairedRow:
    """A row whose resamples lie around what the models reach; 20 of 1,000 held out are cases."""
    terms = {**GOOD, "noise": 0.01, "auroc": 0.8, "cases": 20, "learned": 80, **given}
    random = np.random.default_rng([seed, sum(map(ord, name))])
    reached = {
        model: ModelReach(precision=terms[model], found=round(20 * terms[model]))
        for model in GOOD
        if terms[model] is not None
    }
    gain = terms["at_home"] - (terms["alone"] or 0.0)

    def around(value: float) -> tuple[float, ...]:
        return tuple(random.normal(value, terms["noise"], RESAMPLES).tolist())

    return PairedRow(
        institution=name, seed=seed, labels=labels, learned=terms["learned"], cases=terms["cases"],
        units=1000, alerts=20, needed=26, alone=reached.get("alone"), shared=reached["shared"],
        at_home=reached["at_home"], pooled=reached.get("pooled"),
        placebo=reached.get("placebo"), auroc=terms["auroc"],
        draws=PairedDraws(
            precision=around(gain), share_found=around(gain), auroc=around(terms["auroc"]),
            taught=around(terms["at_home"] - terms["placebo"]) if terms["placebo"] else None,
        ),
    )  # fmt: skip


def everywhere(seeds: int = 6, labels: float = 1.0, **given: Any) -> list[PairedRow]:
    """A row for each bank of each world."""
    return [paired(name, seed, labels, **given) for seed in range(seeds) for name in NAMES]


def kind(question: Any, seed: int = 0, **given: int) -> KindRow:
    """A row of one role's or scenario's held-out cases."""
    counts = {"cases": 10, "alone": 3, "at_home": 6, "both": 2, **given}
    ends = {f"{name}_at": counts[name] for name in ("alone", "at_home", "both")}
    return KindRow(
        institution="bank-a", seed=seed, question=question, kind="S1", learned=2, **counts, **ends
    )


def month(seed: int, alone: int | None, at_home: int | None) -> MonthsRow:
    """A bank's months until a new scenario was found."""
    return MonthsRow(
        institution="bank-a", seed=seed, scenario="S1", months=7, alone=alone, at_home=at_home
    )


def answered_here(study: Study) -> Figures:
    """An institution's answer with a model of a study."""
    given = facts(place="institution", study=study.name, study_id=study.id)
    return figures(given, [paired(seed=seed) for seed in range(6)])
