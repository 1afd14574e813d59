"""Wall and processor seconds of rounds of FLARE's simulator.

    python flare_rounds.py INSTITUTIONS ENTRIES ROUNDS

Two institutions at a time, as many as there are cores: with a process for each, 100 take more
memory than the machine has.
"""

import json
import re
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from nvflare.app_common.np.recipes.fedavg import NumpyFedAvgRecipe
from nvflare.recipe.sim_env import SimEnv
from process_tree import processor_seconds

CLIENT = """\
import nvflare.client as flare

flare.init()
while flare.is_running():
    flare.send(flare.receive())
"""
THREADS = 2


class Watch(threading.Thread):
    """Notes when each round began: the simulator's server says so in its log.

    Attributes:
        times: of a clock and of processors.
    """

    def __init__(self, log: Path) -> None:
        super().__init__(daemon=True)
        self._log, self.times = log, list[tuple[float, float]]()

    def run(self) -> None:
        while True:
            if self._begun() > len(self.times):
                self.times.append((time.perf_counter(), processor_seconds()))
            time.sleep(0.05)

    def _begun(self) -> int:
        try:
            return len(re.findall(r"Round \d+ started", self._log.read_text("utf-8")))
        except OSError:
            return 0


def main(institutions: int, entries: int, rounds: int, folder: Path) -> list[tuple[float, float]]:
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
    watch = Watch(folder / "work" / "bench" / "server" / "log.json")
    watch.start()
    recipe.execute(SimEnv(num_clients=institutions, num_threads=threads, workspace_root=work))
    return [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(watch.times)]


if __name__ == "__main__":
    with TemporaryDirectory(prefix="fieldfare-bench-") as scratch:
        sys.stdout.write(
            json.dumps(main(*(int(part) for part in sys.argv[1:4]), Path(scratch))) + "\n"
        )
