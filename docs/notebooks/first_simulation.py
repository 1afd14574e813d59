# %% [markdown]
# # A first simulation
#
# Eight institutions hold customers of their own and learn one model together, at epsilon 1. What does it gain over what each
# learns alone? And what would one pool of all records have reached, which nobody may build? Ten lines say it, over invented
# customers; a frame of your own goes in their place.

# %%
import numpy as np
import pandas as pd

import fieldfare

random = np.random.default_rng(1)
frame = pd.DataFrame({"cash": random.gamma(2, 600, 20_000), "abroad": random.poisson(2, 20_000)})
odds = np.exp(frame.cash / 500 + frame.abroad - 10)
frame["case"] = random.random(20_000) < odds / (1 + odds)
study = fieldfare.Study.draft(frame, label="case", public_sample=True, epsilon=1)
found = fieldfare.simulate(study, frame, institutions=8, partition="dirichlet:0.5")
found.plot_comparison()

# %% [markdown]
# Each bar is the average precision on held-out customers of all institutions: *together* is the shared model, *alone* the mean of
# the institutions' own models, and the pool is what privacy costs.
#
# ## What the draft rests on
#
# A study is public, and with it the bounds and knots that it states. Here the frame itself was declared a public sample; with
# records of real people give `bounds=` and `levels=` instead, and no row is read.

# %%
for line in study.assumed:
    print(line)

# %% [markdown]
# ## Every figure
#
# One row for each figure: of each model, on all held-out customers or on one institution's own, with its 95 % interval.

# %%
table = found.to_pandas()
table[(table.metric == "average_precision") & (table.held_out == "pooled")]

# %% [markdown]
# What a deployment would see are the rows that came through the door, with noise:

# %%
table[(table.held_out == "released") & table.metric.isin(["auroc", "average_precision"])]

# %% [markdown]
# ## In words
#
# The same as a screen: the answer, the work for people who review, and the promise.

# %%
print(found)

# %% [markdown]
# Nothing has been written so far. `found.report("report.html")` writes the whole report, `found.save("out")` everything that
# `fieldfare simulate` writes. This run had fast seeded noise and no masks, so it protects nobody; `noise="exact"` runs all that a
# deployment runs. Next: [which epsilon](which_epsilon.py).
