"""The record has the registry's fields and values and no other."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from fieldfare.client.ledger.budget import Position
from fieldfare.client.oversight.ledger_report import (
    LedgerReport,
    LimitUse,
    registry_record,
)
from fieldfare.shared.errors import UsageError
from fieldfare.shared.evidence.registry import TO_FILL_IN

FIRST: Final = datetime(2026, 3, 4, 5, tzinfo=UTC)
REPORT: Final = LedgerReport(
    population="Bank A's customers",
    position=Position(sequence=2, head="a" * 64, cumulative=3 * 10**9, debited=3 * 10**9, epoch=1),
    yearly=LimitUse(limit=10**11, spent=3 * 10**9, limit_epsilon=2.0, delta=1e-6),
    lifetime=LimitUse(limit=10**12, spent=3 * 10**9, limit_epsilon=6.0, delta=1e-6),
    studies={"b" * 64: 3 * 10**9},
    kinds={"training": 2 * 10**9, "evaluation": 10**9},
    carried=0,
    last=(),
)

# schemas/deployments-schema.yaml of opendp/deployments-registry-data at 3e9c812a; a leaf is a
# type or the closed set of values, "!" marks what is required.
FIELDS: Final[dict[str, Any]] = {
    "url_slug!": str,
    "status!": {"Draft", "Pending", "Approved"},
    "tier!": {1, 2, 3},
    "deployment!": {
        "basic!": {
            "name!": str,
            "data_curators!": list,
            "description!": str,
            "intended_use!": str,
            "data_product_type!": {"Summary statistics", "Machine learning model", "Dataset"},
            "data_product_region!": str,
            "publication_date!": str,
            "data_product_sector": {"Technology", "Government", "Finance"},
        },
        "dp_variant": {
            "variant_name": {"Pure DP", "Approximate DP", "Zero-concentrated DP", "Renyi DP"},
            "data_domain": str,
            "unprotected_quantities": str,
        },
        "privacy_loss": {
            "privacy_unit": str,
            "privacy_unit_details": str,
            "privacy_parameters": {"epsilon": float, "delta": float, "rho": float},
            "privacy_parameters_details": str,
        },
        "deployment_model": {
            "model_name": {"Local", "Central", "Shuffle", "Federated"},
            "model_name_details": str,
            "actors": str,
            "release_type": {"One release", "Many releases"},
            "release_type_details": str,
            "data_source_type": {"Static", "Dynamic"},
            "data_source_type_details": str,
            "access_type": {"Interactive", "Non-interactive"},
            "access_type_details": str,
        },
        "accounting": {"post_processing": str, "composition": str},
        "implementation": {
            "preprocessing_and_hyperparameter_tuning": str,
            "mechanisms": str,
            "justification": str,
        },
        "administrative": {"sources": str, "notes": str, "registry_authors!": list},
    },
}


def misfits(found: Any, expected: Any, place: str = "") -> list[str]:
    if isinstance(expected, set):
        return [] if found in expected else [place]
    if not isinstance(expected, dict):
        return [] if isinstance(found, expected) else [place]
    names = {name.rstrip("!"): rule for name, rule in expected.items()}
    wrong = [f"{place}/{name}: unknown" for name in found.keys() - names.keys()]
    wrong += [
        f"{place}/{n[:-1]}: missing" for n in expected if n[-1] == "!" and n[:-1] not in found
    ]
    for name in found.keys() & names.keys():
        wrong += misfits(found[name], names[name], f"{place}/{name}")
    return wrong


def test_the_record_has_the_registrys_fields_and_no_other() -> None:
    record = registry_record(REPORT, "bank-a", FIRST)
    assert misfits(record, FIELDS) == []
    assert misfits({**record, "surprise": 1}, FIELDS) == ["/surprise: unknown"]
    assert misfits({**record, "tier": 0}, FIELDS) == ["/tier"]


def test_it_says_what_was_spent_and_what_people_must_add() -> None:
    record = registry_record(REPORT, "bank-a", FIRST)
    deployment = record["deployment"]
    assert record["url_slug"] == "fieldfare-bank-a-bank-a-s-customers"
    assert deployment["basic"]["publication_date"] == "2026-03-04"
    assert deployment["basic"]["data_product_type"] == "Machine learning model"
    assert deployment["basic"]["intended_use"] == TO_FILL_IN
    unit = deployment["privacy_loss"]["privacy_unit_details"]
    assert "a customer's own statement" in unit
    assert "not covered" in unit
    parameters = deployment["privacy_loss"]["privacy_parameters"]
    assert parameters == {"epsilon": REPORT.lifetime.spent_epsilon, "delta": 1e-6}
    assert parameters["epsilon"] > 0
    assert f"{'b' * 64}: 0.003" in deployment["accounting"]["composition"]
    assert "Carried over" not in deployment["accounting"]["composition"]


def test_what_was_carried_over_is_said() -> None:
    record = registry_record(replace(REPORT, carried=10**9), "bank-a", FIRST)
    assert "restored copy lacked: 0.001" in record["deployment"]["accounting"]["composition"]


def test_sums_without_a_model_are_statistics() -> None:
    record = registry_record(replace(REPORT, kinds={"evaluation": 1}), "bank-a", FIRST)
    assert record["deployment"]["basic"]["data_product_type"] == "Summary statistics"


def test_nothing_released_is_nothing_to_export() -> None:
    with pytest.raises(UsageError, match="nothing to export"):
        registry_record(REPORT, "bank-a", None)
