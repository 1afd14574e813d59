# %% [markdown]
# # Which epsilon
#
# Epsilon bounds how much anybody can learn of one customer's records from all that leaves; a larger one allows more. How much
# usefulness does it buy? Run the same federation at several epsilons, and read the smallest one that is worth joining at.

# %%
import numpy as np
import pandas as pd

import fieldfare

random = np.random.default_rng(3)
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

# %% [markdown]
# ## Before anything runs
#
# The noise on one sum follows from the study alone: in units of the clipping norm, at each epsilon.

# %%
for epsilon in (0.25, 0.5, 1, 2, 4):
    print(epsilon, round(study.with_(privacy={"epsilon": epsilon}).sigma, 1))

# %% [markdown]
# ## Run each of them
#
# Own models without privacy do not depend on epsilon, so they are trained once.

# %%
rows = []
for epsilon in (0.25, 0.5, 1, 2, 4):
    baselines = ("alone", "central") if epsilon == 1 else ()
    found = fieldfare.simulate(
        study.with_(privacy={"epsilon": epsilon}),
        frame,
        institutions=6,
        baselines=baselines,
        progress=False,
    )
    for model in ("federated", *baselines):
        figure = found.figure("average_precision", model=model)
        rows.append((model, epsilon, figure.value, figure.low, figure.high))
table = pd.DataFrame(rows, columns=["model", "epsilon", "value", "low", "high"])
table.round(3)

# %% [markdown]
# ## Read it
#
# `alone` does not move: it is what has to be beaten. `central` is a pool without privacy, which nobody may build. One seed is one
# draw of the noise; before you decide, repeat with other seeds ([which epsilon, the guide](../guides/which-epsilon.md)).

# %%
alone = table[table.model == "alone"].value.iloc[0]
better = table[(table.model == "federated") & (table.value > alone)]
if better.empty:
    print(f"No epsilon that was tried beats {alone:.3f}, which each has alone.")
else:
    print(f"Above {alone:.3f}, which each has alone, from epsilon {better.epsilon.min():g} on.")
