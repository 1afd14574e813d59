# %% [markdown]
# # Ask questions
#
# Counts, means, histograms and tables of all institutions' records together, without anybody seeing one institution's. Each
# answer has an interval; in a simulation the true answer stands beside it.

# %%
from typing import Any

import numpy as np
import pandas as pd

import fieldfare

random = np.random.default_rng(2)
units = 12_000
frame = pd.DataFrame(
    {
        "amount": random.gamma(2, 150, units),
        "channel": random.choice(["web", "branch", "agent"], units, p=[0.6, 0.3, 0.1]),
        "case": random.random(units) < 0.04,
    }
)
study = fieldfare.Study.draft(
    frame,
    label="case",
    bounds={"amount": (0, 1200)},  # public knowledge: no row of the frame is read for the study
    levels={"channel": ["web", "branch", "agent"]},
    units=units,
    prevalence=0.04,
    epsilon=1,
)

# %% [markdown]
# ## What is asked
#
# Four questions share one epsilon. [questions.md](../questions.md) has every kind.

# %%
questions: list[dict[str, Any]] = [
    {"name": "customers", "kind": "count"},
    {"name": "mean amount", "kind": "mean", "column": "amount"},
    {"name": "amounts", "kind": "histogram", "column": "amount"},
    {"name": "amount by channel", "kind": "group_by", "by": ["channel"], "column": "amount"},
]
answers = fieldfare.ask(study, frame, questions, institutions=6)
answers

# %% [markdown]
# ## As a table
#
# `low` to `high` holds the true answer 95 times in 100, whatever the records are: the interval is made from the noise alone.

# %%
table = answers.to_pandas()
table[table.question != "amounts"]

# %%
inside = ((table.low <= table.true) & (table.true <= table.high))[table.value.notna()]
print(f"{inside.sum()} of {len(inside)} intervals hold the true answer")

# %% [markdown]
# ## What a smaller epsilon does
#
# Noise grows as epsilon falls; for small epsilons it is about in proportion to one over it.

# %%
for epsilon in (0.25, 1, 4):
    asked = study.with_(privacy={"epsilon": epsilon})
    one = fieldfare.ask(asked, frame, questions[:2], institutions=6).to_pandas()
    print(epsilon, *(f"{row.measure}: {row.low:.1f} to {row.high:.1f}" for row in one.itertuples()))
