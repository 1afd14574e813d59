# %% [markdown]
# # Sweep it
#
# One simulation says what joining is worth at one epsilon, with so many institutions, on one split. A sweep runs the same study at every point
# of a grid and over several seeds, and says from where on joining pays, with intervals. Each point counts its institutions' sums in one pass
# (`engine="sums"`): the same figures as with real custodians.

# %%
import numpy as np
import pandas as pd

import fieldfare

random = np.random.default_rng(6)
units = 12_000
cash, abroad, night = (
    random.gamma(1.5, 800, units),
    random.poisson(2, units),
    random.beta(1, 6, units),
)
odds = np.exp(cash / 700 + 0.8 * abroad + 3 * night - 9)
frame = pd.DataFrame({"cash": cash, "abroad": abroad, "night": night})
frame["case"] = random.random(units) < odds / (1 + odds)
study = fieldfare.Study.draft(frame, label="case", public_sample=True, epsilon=1)
found = fieldfare.sweep(
    study,
    frame,
    epsilon=[0.25, 1, 4],
    institutions=[4, 12],
    seeds=range(3),
    engine="sums",
)
print(found)

# %% [markdown]
# ## Where it pays
#
# *Gain* is the shared model, weighed at home with own ones, minus the own best, each on its own customers. It pays where the interval lies above 0
# there and at every larger epsilon. "Not known to pay" is an answer: more seeds make intervals narrower.

# %%
found.pays

# %%
found.plot_gain()

# %% [markdown]
# ## Privacy against usefulness
#
# The pool without privacy is what nobody may build; alone is what has to be beaten. Smaller institutions have more to gain.

# %%
found.plot_utility()

# %% [markdown]
# ## The table
#
# One row for each model on each set of held-out units: [sweeps.md](../sweeps.md) says what each column is. What a sweep has computed it keeps with
# `out="folder"`: interrupted, it goes on.

# %%
table = found.to_pandas()
own = table[table.held == "mean"]
own.pivot_table(
    index=["institutions", "epsilon"], columns="learner", values="average_precision"
).round(3)

# %% [markdown]
# ## What it sends
#
# Rounds and bytes follow from the study alone, not from the records.

# %%
found.plot_traffic()
