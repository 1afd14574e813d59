# %% [markdown]
# # Add a model
#
# What a federation learns is a part of the study: an additive model, one with more knots, a small network, or a torch module of
# your own, which a study names. Door, noise and account do not know which one they carry. Change the study, run, compare.

# %%
import numpy as np
import pandas as pd

import fieldfare

random = np.random.default_rng(5)
units = 8_000
cash, abroad, night = (
    random.gamma(1.5, 800, units),
    random.poisson(2, units),
    random.beta(1, 6, units),
)
odds = np.exp(cash / 700 + 0.8 * abroad * (night > 0.1) - 6)  # two columns that count together
frame = pd.DataFrame({"cash": cash, "abroad": abroad, "night": night})
frame["customer"] = [f"c-{number}" for number in range(units)]
frame["case"] = random.random(units) < odds / (1 + odds)

# %% [markdown]
# ## An additive model, and a network
#
# An additive model gives each column a curve, and reasons that add up to the score. It cannot say that two columns count *together*,
# as they do in these invented records. A network can, and costs more noise: its vectors are longer. It needs
# torch beside Fieldfare (`[torch]`).

# %%
additive, network = (
    fieldfare.Study.draft(
        frame, label="case", unit="customer", public_sample=True, epsilon=2, model=model
    )
    for model in ("additive", "mlp")
)
additive, network

# %%
rows = []
for name, study in {"additive": additive, "network": network}.items():
    found = fieldfare.simulate(study, frame, institutions=4, baselines=("central",), progress=False)
    for model in ("federated", "central"):
        figure = found.figure("auroc", model=model)
        rows.append((name, model, len(found.parameters), figure.low, figure.value, figure.high))
table = pd.DataFrame(rows, columns=["kind", "learned", "parameters", "low", "auroc", "high"])
table.round(3)

# %% [markdown]
# ## Settings are a part of the study too
#
# Steps, rate and clipping norm change what is learned and never what is promised: epsilon is divided among the steps.

# %%
for steps in (20, 60):
    study = additive.with_(training={"steps": steps})
    found = fieldfare.simulate(study, frame, institutions=4, baselines=(), progress=False)
    print(
        steps,
        "steps, noise",
        round(study.sigma, 1),
        "AUROC",
        round(found.figure("auroc").value or 0, 3),
    )

# %% [markdown]
# A torch module of your own needs no change in Fieldfare: [a study names it](../models.md#a-module-of-your-own). A new kind with bounds that
# are proved is three files: [the guide](../guides/add-a-model.md).
