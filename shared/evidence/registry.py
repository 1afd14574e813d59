"""A record of the OpenDP deployments registry, to be completed and published.

Field names and closed sets of values: schemas/deployments-schema.yaml of the repository
opendp/deployments-registry-data at commit 3e9c812a (July 2026; MIT licence), which allows no
other field. What only people know is marked `TO_FILL_IN`.

It is written as JSON, which is YAML too (YAML 1.2, section 1.3): no library decides on a byte.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

TO_FILL_IN: Final = "to be filled in"
TIER: Final = 3
POWER: Final = re.compile(r"(?m)(\": )(-?\d+)(e[-+]\d+)(?=,?$)")
UNIT: Final = (
    "What an institution's own records hold about one customer or one case: a customer's own "
    "statement. Adjacent data sets differ by adding or removing one unit at every institution that "
    "knows it, up to the roster's limit. What the statements of others say of the same person is "
    "not covered."
)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """What one record says beside what is the same of every deployment of Fieldfare.

    Attributes:
        slug: of its address; other characters than letters and digits become hyphens.
        name, curators, authors: who publishes what.
        use: what it is for; `TO_FILL_IN` where only people know.
        colluders: how many institutions may collude with the coordinator, in words.
        trains: it makes a model, and no table alone.
        day: of the first release, ISO 8601.
        unprotected: quantities that are not protected.
        epsilon, delta: the promise, or what is spent of it.
        details: of these parameters.
        composition: how it adds up.
        notes: where the evidence is.
    """

    slug: str
    name: str
    curators: tuple[str, ...]
    authors: tuple[str, ...]
    use: str
    trains: bool
    colluders: str
    day: str
    unprotected: str
    epsilon: float
    delta: float
    details: str
    composition: str
    notes: str


def deployment_record(one: Deployment) -> dict[str, Any]:
    """Return the record."""
    return {
        "url_slug": re.sub(r"[^a-z0-9]+", "-", one.slug.lower()).strip("-"),
        "status": "Draft",
        "tier": TIER,
        "deployment": {
            "basic": _basic(one),
            "dp_variant": {
                "variant_name": "Approximate DP",
                "data_domain": TO_FILL_IN,
                "unprotected_quantities": one.unprotected,
            },
            "privacy_loss": {
                "privacy_unit": "Person-level",
                "privacy_unit_details": UNIT,
                "privacy_parameters": {"epsilon": one.epsilon, "delta": one.delta},
                "privacy_parameters_details": one.details,
            },
            "deployment_model": _model(one),
            "accounting": {
                "post_processing": "The coordinator adds masked sums"
                + (", trains on their noisy mean and averages models" if one.trains else "")
                + "; nothing of it reads records.",
                "composition": one.composition,
            },
            "implementation": _implementation(),
            "administrative": {"notes": one.notes, "registry_authors": list(one.authors)},
        },
    }


def record_text(record: Mapping[str, Any]) -> bytes:
    """Return a record as a file: JSON on lines of its own, which is YAML too.

    Older YAML (1.1, which many read) takes 1e-05 for a text: a point makes it a number for all.
    """
    text = json.dumps(record, indent=2, ensure_ascii=False)
    return POWER.sub(r"\1\2.0\3", text).encode() + b"\n"


def _basic(one: Deployment) -> dict[str, Any]:
    return {
        "name": one.name,
        "data_curators": list(one.curators),
        "intended_use": one.use,
        "data_product_type": "Machine learning model" if one.trains else "Summary statistics",
        "data_product_region": TO_FILL_IN,
        "description": "Bounded sums over people or cases, noised and masked, that several "
        "institutions add up against human trafficking; no institution's own sum can be seen.",
        "publication_date": one.day,
    }


def _model(one: Deployment) -> dict[str, Any]:
    return {
        "model_name": "Federated",
        "model_name_details": "Distributed noise under secure aggregation: each institution adds "
        "its share, and only the sum of all, with the whole noise, can be read.",
        "actors": "Institutions that hold records, the coordinator that adds up, and colluding "
        f"institutions, beside {one.colluders} of whom and the coordinator the promise holds.",
        "release_type": "Many releases",
        "data_source_type": "Dynamic",
        "access_type": "Non-interactive",
    }


def _implementation() -> dict[str, Any]:
    return {
        "preprocessing_and_hyperparameter_tuning": "Bounds and knots are public or were themselves "
        "released through the same ledger. The study fixes its settings before any release; who "
        f"tried others before, and on which data: {TO_FILL_IN}",
        "mechanisms": "Discrete Gaussian noise (OpenDP's exact sampler) on integer sums of "
        "per-unit vectors of bounded L2 norm; no floating point between sum and noise. Every "
        "release is debited in a hash-chained ledger before it leaves.",
        "justification": TO_FILL_IN,
    }
