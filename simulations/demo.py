"""The demo: an invented world of five banks, its own study, the exact path."""

from importlib.resources import files
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from fieldfare.shared.messages import Assurance
from fieldfare.shared.study import Study, parse_study
from fieldfare.simulations.population import RecordsChoice
from fieldfare.simulations.simulate import Simulation
from fieldfare.simulations.world import accounts, make_world

ACCOUNTS_FILE: Final = "accounts.parquet"


def demo_study() -> Study:
    """Return the study of the invented world, shipped with the package."""
    text = files("fieldfare.simulations.world").joinpath("demo.toml").read_text("utf-8")
    return parse_study(text)


def demo_task(out: Path, *, seed: int) -> Simulation:
    """Make the world, write its accounts to `out`, and return what to simulate.

    Everything about these people is drawn from `seed`; they exist nowhere. The persona
    column serves the false-positive audit only (harm rules 4 and 5).
    """
    path = out / ACCOUNTS_FILE
    pq.write_table(accounts(make_world(seed=seed)), path)
    choice = RecordsChoice((str(path),), institution_column="institution", audit_column="persona")
    return Simulation(
        study=demo_study(), choice=choice, out=out, seed=seed, assurance=Assurance.EXACT
    )
