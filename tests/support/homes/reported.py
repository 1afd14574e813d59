"""An alert that people decided on, to draft reports of."""

from typing import Any

from tests.support.homes.institutions import NOW

from fieldfare.client.alerts.alert import Alert
from fieldfare.client.alerts.feedback import (
    AlertStatus,
    Confidence,
    Disposition,
    Feedback,
    PartyRole,
    alert_status,
)


def reason(
    feature: str, value: float | None, contribution: float, **changes: Any
) -> dict[str, Any]:
    data: dict[str, Any] = {
        "feature": feature,
        "indicator": feature if feature.startswith("R") else None,
        "family": "FLOW",
        "source": None,
        "value": value,
        "level": None,
        "own_baseline": None,
        "usual": None,
        "percentile": None,
        "contribution": contribution,
        "direction": "raises" if contribution > 0 else "lowers",
        "fires": True if feature.startswith("R") else None,
        "evidence": feature.startswith("R") and value is not None,
    }
    data |= changes
    return data | {"evidence": bool(data["evidence"] and data["fires"])}


def reported_alert(**changes: Any) -> Alert:
    data: dict[str, Any] = {
        "alert": "aaaa1111bbbb2222", "unit": "MARKER-CUSTOMER", "study": "s" * 64,
        "study_name": "s", "run": "r", "opened": NOW.isoformat(), "scored": NOW.isoformat(),
        "rank": 777, "of": 1000, "selected": "alert", "score": 3.25, "base": -2.0, "others": 0.0,
        "probability": 0.4242, "calibration": "platt", "families": 2,
        "family_names": ("FLOW", "ALT_PAY"), "evidence": ("R01", "R22"),
        "fired": ("R01", "R04", "R22"), "against": (), "look_alikes": ("student",),
        "reasons": (
            reason("R01", 31.0, 3.0, own_baseline=2.0), reason("R22", 4.0, 1.5),
            reason("R04", None, 1.0, level="missing"),
        ),
        "counter_evidence": (reason("wages", 2.0, -0.25),),
    }  # fmt: skip
    return Alert.model_validate(data | changes)


def decided(
    role: PartyRole,
    disposition: Disposition = Disposition.FILE,
    users: tuple[str, ...] = ("a", "b"),
) -> AlertStatus:
    return alert_status(
        [Feedback("aaaa", NOW, user, disposition, role, Confidence.HIGH) for user in users]
    )
