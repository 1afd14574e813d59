"""Seconds of rounds of FLARE's simulator: python flare_rounds.py INSTITUTIONS ENTRIES ROUNDS.

Two institutions at a time, as many as there are cores: with a process for each, 100 take more
memory than the machine has.
"""

import json
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from nvflare.app_common.np.recipes.fedavg import NumpyFedAvgRecipe
from nvflare.recipe.sim_env import SimEnv

CLIENT = """\
import nvflare.client as flare

flare.init()
while flare.is_running():
    flare.send(flare.receive())
"""
THREADS = 2


def began(log: Path) -> Iterator[float]:
    """Yield the seconds at which rounds began, as the simulator's server wrote them down."""
    for line in log.read_text("utf-8").splitlines():
        said = json.loads(line)
        if re.search(r"Round \d+ started", str(said.get("message", ""))):
            written = f"{said['asctime']}000+0000"
            yield datetime.strptime(written, "%Y-%m-%d %H:%M:%S,%f%z").timestamp()


def main(institutions: int, entries: int, rounds: int, folder: Path) -> list[float]:
    """Run one round more than asked for: the end of the last is not in the log."""
    (folder / "client.py").write_text(CLIENT, "utf-8")
    recipe = NumpyFedAvgRecipe(
        name="bench",
        model=[0.0] * entries,
        min_clients=institutions,
        num_rounds=rounds + 1,
        train_script=str(folder / "client.py"),
    )
    threads, work = min(institutions, THREADS), str(folder / "work")
    recipe.execute(SimEnv(num_clients=institutions, num_threads=threads, workspace_root=work))
    times = list(began(folder / "work" / "bench" / "server" / "log.json"))
    return [after - before for before, after in pairwise(times)]


if __name__ == "__main__":
    with TemporaryDirectory(prefix="fieldfare-bench-") as scratch:
        sys.stdout.write(
            json.dumps(main(*(int(part) for part in sys.argv[1:4]), Path(scratch))) + "\n"
        )
