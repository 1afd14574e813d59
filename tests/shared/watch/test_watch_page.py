"""docs/watch.md lists every metric with its labels, and no other."""

import re
from pathlib import Path

from fieldfare.shared.watch.metrics import PREFIX, all_metrics

PAGE = (Path(__file__).parents[3] / "docs" / "watch.md").read_text()
METRICS = PAGE.partition("## Metrics\n")[2].partition("\n## ")[0]


def test_every_metric_is_explained_once() -> None:
    rows = {
        name: labels
        for line in METRICS.splitlines()
        if line.startswith("| `")
        for name, labels in re.findall(r"`([a-z0-9_]+)(?:\{([a-z,]+)\})?`", line.split(" | ")[0])
    }
    assert rows == {one.name.removeprefix(PREFIX): ",".join(one.labels) for one in all_metrics()}
