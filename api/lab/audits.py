"""An audit of the promise itself: canaries through the real door, beside own arithmetic."""

from html import escape
from typing import Any, Literal

from fieldfare.lab.figure_table import FigureTable, table_of
from fieldfare.lab.running import checked_seed, chosen, is_whole
from fieldfare.shared.errors import UsageError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.terminal.stderr import without_log
from fieldfare.simulations.attacks.defects import DoorDefect
from fieldfare.simulations.attacks.door import DoorDesign, audit_door
from fieldfare.simulations.attacks.finding import Finding

Defect = Literal[
    "none",
    "half-sigma",
    "no-clip",
    "all-share",
    "same-noise",
    "bare-evaluation",
    "half-query",
    "half-guard",
    "both-sides",
]
LEAST_CANARIES = 100
MOST_CANARIES = 1_000_000
MOST_STEPS = 1000
MOST_EPSILON = 100


class Audit(FigureTable):
    """What `fieldfare.audit` found: figures with intervals, and what contradicts the claim.

    Attributes:
        finding: everything: figures, what the audit sees and misses, and its source.
        flagged: what contradicts the claim, in words; empty where nothing does.
    """

    def __init__(self, finding: Finding) -> None:
        """Take what the audit found."""
        self.finding, self.flagged = finding, finding.flagged

    @property
    def holds(self) -> bool:
        """Whether nothing contradicts the claim; an honest door is flagged once in 10,000 runs."""
        return not self.flagged

    def to_arrow(self) -> Any:
        """Return a `pyarrow.Table`: `figure`, `value`, `low`, `high` (float64; 95 % interval)."""
        figures = self.finding.figures
        rows = ((one.name, one.value, *(one.interval or (None, None))) for one in figures)
        return table_of(rows, ("figure", "value", "low", "high"), texts=1)

    def __repr__(self) -> str:
        """Return everything as text."""
        return "\n".join(self.finding.lines())

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"


def audit(
    *,
    epsilon: float = 1.0,
    canaries: int = 4000,
    steps: int = 4,
    defect: Defect = "none",
    noise: Literal["simulated", "exact"] = "exact",
    seed: int = 0,
) -> Audit:
    """Run canaries through the real door and compare every release with own arithmetic.

    Records that a coin puts in or leaves out go the whole way of a deployment: read, split, summed,
    noised, masked, debited, decoded. The auditor knows them all, so what is left is noise, and it
    has to be what the plan owes. Nothing is written but in a temporary folder.

    Args:
        epsilon: of the audited study, above 0, at most 100.
        canaries: records with a coin, 100 to 1,000,000.
        steps: of training, 1 to 1,000.
        defect: put one in on purpose; "none", or one of `fieldfare attack --help`.
        noise: "exact" as deployed, or "simulated".
        seed: of records, coins and simulated noise.

    Raises:
        UsageError: a number out of range, or no such defect.

    Source: as the finding says (Steinke, Nasr and Jagielski 2023, section 4).
    """
    wrong = chosen(DoorDefect, "defect", defect)
    real = isinstance(epsilon, int | float)
    _check(
        "epsilon", real and 0 < epsilon <= MOST_EPSILON, f"above 0, at most {MOST_EPSILON}", epsilon
    )
    counts = f"{LEAST_CANARIES} to {MOST_CANARIES}"
    some = is_whole(canaries) and LEAST_CANARIES <= canaries <= MOST_CANARIES
    _check("canaries", some, counts, canaries)
    _check("steps", is_whole(steps) and 1 <= steps <= MOST_STEPS, f"1 to {MOST_STEPS}", steps)
    protection = chosen(Protection, "noise", noise)
    design = DoorDesign(
        epsilon=epsilon, canaries=canaries, steps=steps, defect=wrong,
        protection=protection, seed=checked_seed(seed),
    )  # fmt: skip
    with without_log("fieldfare"):  # one answer is lost on purpose
        return Audit(audit_door(design).finding)


def _check(name: str, fits: bool, expected: str, found: object) -> None:
    if not fits:
        raise UsageError(f"{name}: expected {expected}, found {found!r}")
