"""A package of torch modules that somebody installed."""

import sys
from pathlib import Path
from typing import Final

import pytest

from fieldfare.shared.study import allowed_packages

PACKAGE: Final = "acme-nets==1.2.0"
MODULE: Final = "acme_nets:Small"
LISTED: Final = f"{PACKAGE}:{MODULE}"  # as a policy lists it
MODEL: Final = {"kind": "mlp", "module": MODULE, "package": PACKAGE, "parameters": 145}
"""For features that fill one row of 16 numbers, as those of most tests do."""
CODE: Final = """
import torch

class Small(torch.nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.first = torch.nn.Linear(inputs, 8)
        self.last = torch.nn.Linear(8, 1)

    def forward(self, rows):
        return self.last(torch.tanh(self.first(rows)))

class Mixing(Small):
    def forward(self, rows):
        return super().forward(rows - rows.mean(0))

class Dropping(Small):
    def __init__(self, inputs):
        super().__init__(inputs)
        self.drop = torch.nn.Dropout(0.5)

class Normed(Small):
    def __init__(self, inputs):
        super().__init__(inputs)
        self.norm = torch.nn.BatchNorm1d(inputs)

class Convolved(Small):
    def __init__(self, inputs):
        super().__init__(inputs)
        self.more = torch.nn.Conv1d(1, 1, 3)

class Twice(Small):
    def __init__(self, inputs):
        super().__init__(inputs)
        self.middle = torch.nn.Linear(8, 8)

    def forward(self, rows):
        once = torch.tanh(self.middle(torch.tanh(self.first(rows))))
        return self.last(torch.tanh(self.middle(once)))

class Reading(Small):
    def forward(self, rows):
        return super().forward(rows) + (rows @ self.first.weight.T).sum(-1, keepdim=True)

class Growing(Small):
    def forward(self, rows):
        return self.last(torch.exp(self.first(rows)))

class Idle(Small):
    def __init__(self, inputs):
        super().__init__(inputs)
        self.more = torch.nn.Linear(inputs, 8)

no_module = 7
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install `acme-nets` 1.2.0 for this test, and allow nothing yet."""
    (folder / "acme_nets").mkdir()
    (folder / "acme_nets" / "__init__.py").write_text(CODE)
    info = folder / "acme_nets-1.2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-nets\nVersion: 1.2.0\n")
    (info / "top_level.txt").write_text("acme_nets\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(allowed_packages, "_permitted", set())


class Absent:
    """A finder for the front of `sys.meta_path`: these libraries are not installed."""

    def __init__(self, *libraries: str) -> None:
        self._libraries = libraries

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        del path, target
        if name.partition(".")[0] in self._libraries:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def without(monkeypatch: pytest.MonkeyPatch, *libraries: str) -> None:
    """Let this process find none of some libraries, nor our modules that import networks'."""
    ours = ("feature_network", "custom_module", "dense_layers", "unit_batches")
    gone = {f"fieldfare.shared.models.{name}" for name in ours}
    gone.add("fieldfare.client.scoring.network_reasons")
    for name in list(sys.modules):
        if name in gone or name.partition(".")[0] in libraries:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(*libraries), *sys.meta_path])


def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process find neither torch nor Opacus nor Captum, as in an installation without."""
    without(monkeypatch, "torch", "opacus", "captum")
