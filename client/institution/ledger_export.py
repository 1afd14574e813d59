"""A ledger as a record of the OpenDP deployments registry, to be completed and published.

Field names and closed sets of values: schemas/deployments-schema.yaml of the repository
opendp/deployments-registry-data at commit 3e9c812a (July 2026; MIT licence), which allows no
other field. What only people know is marked `TO_FILL_IN`.
"""

import re
from datetime import datetime
from typing import Any, Final

from fieldfare.client.institution.ledger_report import Report
from fieldfare.client.ledger import from_picomu2
from fieldfare.shared.errors import UsageError
from fieldfare.shared.plan import ReleaseKind

TO_FILL_IN: Final = "to be filled in"
TIER: Final = 3


def registry_record(found: Report, institution: str, first: datetime | None) -> dict[str, Any]:
    """Return the record of everything that a population's ledger ever released.

    Args:
        found: the ledger in figures.
        institution: who publishes, as on the roster.
        first: when the first release was debited.

    Raises:
        UsageError: nothing was released, so there is no deployment.
    """
    if first is None:
        raise UsageError("expected a ledger with a release, found none: there is nothing to export")
    slug = re.sub(r"[^a-z0-9]+", "-", f"fieldfare-{institution}-{found.population}".lower())
    return {
        "url_slug": slug.strip("-"),
        "status": "Draft",
        "tier": TIER,
        "deployment": {
            "basic": _basic(found, institution, first),
            "dp_variant": {
                "variant_name": "Approximate DP",
                "data_domain": TO_FILL_IN,
                "unprotected_quantities": "That the institution took part, and when; what a study "
                "declares public: its features' bounds, knots, levels and unit counts.",
            },
            "privacy_loss": _privacy_loss(found),
            "deployment_model": _model(),
            "accounting": {
                "post_processing": "The coordinator adds masked sums, trains on their noisy mean "
                "and averages models; nothing of it reads records.",
                "composition": _composition(found),
            },
            "implementation": _implementation(),
            "administrative": {
                "notes": f"Ledger of {found.position.sequence} entries, epoch "
                f"{found.position.epoch}, head {found.position.head}.",
                "registry_authors": [institution],
            },
        },
    }


def _basic(found: Report, institution: str, first: datetime) -> dict[str, Any]:
    trained = ReleaseKind.TRAINING.value in found.kinds
    return {
        "name": f"Sums that {institution} released about {found.population}",
        "data_curators": [institution],
        "intended_use": TO_FILL_IN,
        "data_product_type": "Machine learning model" if trained else "Summary statistics",
        "data_product_region": TO_FILL_IN,
        "description": "Bounded sums over people or cases, noised and masked, that several "
        "institutions add up against human trafficking; no institution's own sum can be seen.",
        "publication_date": f"{first:%Y-%m-%d}",
    }


def _privacy_loss(found: Report) -> dict[str, Any]:
    spent = found.lifetime
    return {
        "privacy_unit": "Person-level",
        "privacy_unit_details": "What an institution's own records hold about one customer or one "
        "case: a customer's own statement. Adjacent data sets differ by adding or removing one "
        "unit at every institution that knows it, up to the roster's limit. What the statements "
        "of others say of the same person is not covered.",
        "privacy_parameters": {"epsilon": spent.spent_epsilon, "delta": spent.delta},
        "privacy_parameters_details": (
            f"Spent so far, over all studies and years. mu^2 {from_picomu2(spent.spent)!r} in "
            f"Gaussian DP, of at most {from_picomu2(spent.limit)!r} ever (epsilon "
            f"{spent.limit_epsilon:g}) and {from_picomu2(found.yearly.limit)!r} in any 365 days "
            f"(epsilon {found.yearly.limit_epsilon:g}), all at delta {spent.delta:g}."
        ),
    }


def _model() -> dict[str, Any]:
    return {
        "model_name": "Federated",
        "model_name_details": "Distributed noise under secure aggregation: each institution adds "
        "its share, and only the sum of all, with the whole noise, can be read.",
        "actors": "Institutions that hold records, the coordinator that adds up, and up to t "
        "colluding institutions per study, beside whom the promise still holds.",
        "release_type": "Many releases",
        "data_source_type": "Dynamic",
        "access_type": "Non-interactive",
    }


def _composition(found: Report) -> str:
    studies = "; ".join(f"{s}: {from_picomu2(cost)!r}" for s, cost in found.studies.items())
    kinds = "; ".join(f"{k}: {from_picomu2(cost)!r}" for k, cost in found.kinds.items())
    text = (
        "mu^2 of Gaussian DP adds up over releases, studies and years, also when each is chosen "
        f"after seeing the last. By study: {studies}. By kind: {kinds}."
    )
    if found.carried:
        carried = from_picomu2(found.carried)
        text += f" Carried over for entries that a restored copy lacked: {carried!r}."
    return text


def _implementation() -> dict[str, Any]:
    return {
        "preprocessing_and_hyperparameter_tuning": "Bounds and knots are public or were themselves "
        "released through the same ledger.",
        "mechanisms": "Discrete Gaussian noise (OpenDP's exact sampler) on integer sums of "
        "per-unit vectors of bounded L2 norm; no floating point between sum and noise. Every "
        "release is debited in a hash-chained ledger before it leaves.",
        "justification": TO_FILL_IN,
    }
