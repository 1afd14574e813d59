"""Fieldfare: institutions learn together, and only bounded, noised, masked sums leave them.

For users of Python, on one machine (docs/api.md):

    study = fieldfare.Study.draft(frame, label="fraud", public_sample=True)
    found = fieldfare.simulate(study, frame, institutions=5)
    found.plot_comparison()

The subpackages are the top-level folders: `fieldfare.shared` (what all parties agree on),
`fieldfare.client` (an institution), `fieldfare.server` (the coordinator) and
`fieldfare.simulations` (everything in one process). Importing this name loads none of them; each
name of `__all__` is loaded when it is first used (PEP 562).
"""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from fieldfare.lab import attacks
    from fieldfare.lab.answers import Answers
    from fieldfare.lab.attacks import Attack
    from fieldfare.lab.audits import Audit, audit
    from fieldfare.lab.plots import Plot
    from fieldfare.lab.results import Result
    from fieldfare.lab.running import ask, simulate
    from fieldfare.lab.studies import LabStudy as Study
    from fieldfare.lab.sweeps import SweepResult, sweep
    from fieldfare.lab.worlds import World, world
    from fieldfare.shared.errors import FieldfareError, RecordsError, StudyError, UsageError

__all__ = [
    "Answers",
    "Attack",
    "Audit",
    "FieldfareError",
    "Plot",
    "RecordsError",
    "Result",
    "Study",
    "StudyError",
    "SweepResult",
    "UsageError",
    "World",
    "__version__",
    "ask",
    "attacks",
    "audit",
    "simulate",
    "sweep",
    "world",
]

__version__: Final = "0.1.0"  # the one place: pyproject.toml reads it here

_WHERE: Final = MappingProxyType(
    {
        "Answers": "lab.answers:Answers",
        "Attack": "lab.attacks:Attack",
        "Audit": "lab.audits:Audit",
        "FieldfareError": "shared.errors:FieldfareError",
        "Plot": "lab.plots:Plot",
        "RecordsError": "shared.errors:RecordsError",
        "Result": "lab.results:Result",
        "Study": "lab.studies:LabStudy",
        "StudyError": "shared.errors:StudyError",
        "SweepResult": "lab.sweeps:SweepResult",
        "UsageError": "shared.errors:UsageError",
        "World": "lab.worlds:World",
        "ask": "lab.running:ask",
        "attacks": "lab:attacks",
        "audit": "lab.audits:audit",
        "simulate": "lab.running:simulate",
        "sweep": "lab.sweeps:sweep",
        "world": "lab.worlds:world",
    }
)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, found = _WHERE[name].partition(":")
    if module == "lab":  # a module of its own, which holds several names
        return import_module(f"{__name__}.lab.{found}")
    return getattr(import_module(f"{__name__}.{module}"), found)


def __dir__() -> list[str]:
    return __all__
