"""Wall and processor seconds of rounds of Flower's Ray engine.

python flower_ray.py INSTITUTIONS ENTRIES ROUNDS
"""

import json
import sys
import time
from itertools import pairwise

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from process_tree import processor_seconds

INSTITUTIONS, ENTRIES, ROUNDS = (int(part) for part in sys.argv[1:4])
client, server, times = ClientApp(), ServerApp(), list[tuple[float, float]]()


@client.train()
def train(message: Message, context: Context) -> Message:
    metrics = MetricRecord({"num-examples": 1})
    content = RecordDict({"arrays": message.content["arrays"], "metrics": metrics})
    return Message(content, reply_to=message)


def noted(number: int, arrays: ArrayRecord) -> None:
    times.append((time.perf_counter(), processor_seconds()))


@server.main()
def main(grid: Grid, context: Context) -> None:
    strategy = FedAvg(
        fraction_evaluate=0.0, min_train_nodes=INSTITUTIONS, min_available_nodes=INSTITUTIONS
    )
    vector = ArrayRecord([np.zeros(ENTRIES)])
    strategy.start(grid, vector, num_rounds=ROUNDS, evaluate_fn=noted)


if __name__ == "__main__":
    run_simulation(
        server,
        client,
        INSTITUTIONS,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )
    sys.stdout.write(json.dumps([(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(times)]) + "\n")
