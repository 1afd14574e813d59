# %% [markdown]
# # Should we join?
#
# On *your own* customers, which are the only ones that you score: is the shared model, used at home, better than the best that you
# have without anybody else? The answer differs from one institution to the next: a large one may gain nothing where a small one
# gains much. So ask it for each.

# %%
import numpy as np
import pandas as pd

import fieldfare

random = np.random.default_rng(4)
SIZES = {"large": 9_000, "middle": 4_000, "small": 1_500, "newcomer": 700}


def customers(units: int) -> pd.DataFrame:
    """Return invented customers of one institution."""
    cash, abroad = random.gamma(1.5, 800, units), random.poisson(2, units)
    night, months = random.beta(1, 6, units), random.integers(1, 120, units)
    odds = np.exp(cash / 700 + 0.8 * abroad + 3 * night - months / 60 - 8)
    columns = {"cash": cash, "abroad": abroad, "night": night, "months": months}
    return pd.DataFrame({**columns, "case": random.random(units) < odds / (1 + odds)})


frames = {name: customers(units) for name, units in SIZES.items()}
{name: int(frame.case.sum()) for name, frame in frames.items()}

# %% [markdown]
# ## One federation of four
#
# Bounds are public knowledge here, so no institution's records are read for the study.

# %%
every = pd.concat(frames.values())
study = fieldfare.Study.draft(
    frames,
    label="case",
    bounds={"cash": (0, 8000), "abroad": (0, 12), "night": (0, 1), "months": (0, 120)},
    units=len(every),
    prevalence=round(float(every.case.mean()), 2),
    epsilon=2,
)
found = fieldfare.simulate(study, frames, baselines=("alone",))

# %% [markdown]
# ## Each on its own customers

# %%
table = found.to_pandas()
own = table[(table.metric == "average_precision") & (table.held_out == "own")]
own.pivot_table(index="institution", columns="model", values="value").round(3)

# %% [markdown]
# `alone` is an institution's own best model, `federated` the shared one as it comes, `at_home` the shared one weighed with own ones.
# Held-out cases are few at small institutions, so look at the intervals before you believe a difference:

# %%
own.set_index(["institution", "model"])[["low", "value", "high"]].round(3)

# %% [markdown]
# One simulated run decides nothing, for its noise was drawn once. `fieldfare study join` repeats it over seeds, with fewer labels, a
# newcomer and a model that knows nothing, and says yes, no or not worth it by a rule that it prints
# ([should we join, the guide](../guides/should-we-join.md)).
