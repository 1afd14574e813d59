# %% [markdown]
# # Reproduce the AMLSim comparison
#
# Two of IBM's AMLSim sample simulations, each split into three banks: 40,000 accounts, 4.7 % of them fraudulent. The files are not ours to
# ship: put `bank_a/` and `bank_b/`, each with `nodes.csv.gz` and `transactions.csv.gz`, into `amlsim/` of the folder that `FIELDFARE_DATA`
# names. Run this from the root of a checkout.

# %%
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

import fieldfare

folder = Path(os.environ["FIELDFARE_DATA"]) / "amlsim"
command = [sys.executable, "-m", "fieldfare", "records", "derive", "amlsim", str(folder), "--out"]
with TemporaryDirectory() as scratch:
    accounts = Path(scratch) / "accounts.parquet"
    subprocess.run([*command, str(accounts)], check=True)
    frame = pd.read_parquet(accounts)
frame.groupby("institution").label.agg(["size", "sum"])

# %% [markdown]
# ## Six banks at epsilon 1
#
# Every feature reads an account's own statement and nothing that the simulation knew.

# %%
study = fieldfare.Study.from_toml("studies/amlsim.toml")
found = fieldfare.simulate(study, frame)
found.plot_comparison()

# %% [markdown]
# The published yardstick without privacy, all records in one pool, is an average precision of .75 (logistic regression and boosted
# trees over the same columns); `central` is our pool.

# %%
table = found.to_pandas()
pooled = table[(table.metric == "average_precision") & (table.held_out == "pooled")]
pooled.set_index("model")[["low", "value", "high"]].round(3)

# %% [markdown]
# ## Each bank on its own accounts

# %%
own = table[(table.metric == "average_precision") & (table.held_out == "own")]
own.pivot_table(index="institution", columns="model", values="value").round(3)
