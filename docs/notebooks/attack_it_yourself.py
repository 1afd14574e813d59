# %% [markdown]
# # Attack it yourself
#
# A promise that nobody tries to break is worth little. The audit puts records with a coin each (canaries) the whole way of a deployment:
# read, split, summed, noised, masked, debited, decoded. It knows all of them, so what is left of a release is noise, and that has to be what
# the plan owes.

# %%
import numpy as np

import fieldfare

honest = fieldfare.audit(epsilon=1)
honest

# %% [markdown]
# An honest door is flagged at most once in 10,000 runs. The figures and their intervals:

# %%
honest.to_pandas()

# %% [markdown]
# ## Break it on purpose
#
# An audit that never finds anything is worth as little. So put a defect in: half of the noise, no clip, the noise of a first attempt
# used again, an evaluation without noise.

# %%
broken = {
    "half of the noise": fieldfare.audit(epsilon=1, defect="half-sigma"),
    "no clip": fieldfare.audit(epsilon=1, defect="no-clip"),
    "the same noise twice": fieldfare.audit(epsilon=1, defect="same-noise"),
    "an evaluation without noise": fieldfare.audit(epsilon=1, defect="bare-evaluation"),
}
for what, found in broken.items():
    print(what, "was found:" if found.flagged else "was NOT found")
    for line in found.flagged:
        print("   ", line)

# %% [markdown]
# ## Does the model tell whose records it learned from?
#
# The invented units below have six columns of forty levels each, which say next to nothing of the label: a model can do little but learn
# single units by heart. A coin makes half of them members, a model is trained on these, and the attacker sorts all units by their loss.
# Once without clipping and noise, once at epsilon 1.

# %%
generator = np.random.default_rng(0)
levels = [f"l{place}" for place in range(40)]
frame = {f"f{place}": generator.choice(levels, 2000) for place in range(6)} | {
    "case": generator.integers(0, 2, 2000)
}
study = fieldfare.Study.of(
    name="members",
    purpose="to see what a model tells of its records",
    records={"label": "case", "units": 1000, "prevalence": 0.5},
    features=[{"name": f"f{place}", "kind": "categorical", "levels": levels} for place in range(6)],
    training={"steps": 60},
    privacy={"epsilon": 1.0, "delta": 1e-5},
)
without = fieldfare.attacks.membership(study, frame, shadows=0, private=False)
private = fieldfare.attacks.membership(study, frame, shadows=0)
print("without privacy:", without.findings[0].figure("AUROC"))
print("at epsilon 1:   ", private.findings[0].figure("AUROC"))

# %% [markdown]
# An AUROC of .5 is guessing. The ceiling is the most that *any* attack comes to on a model of this price: no luck and no method passes it.
#
# ## What is in one institution's reply?
#
# The attacker holds what one of three institutions sent for a training step, and knows all of its units but one.

# %%
reply = fieldfare.attacks.inversion(study.with_(records={"prevalence": 0.02}), frame)
reply

# %%
reply.plot_figure("AUROC")

# %% [markdown]
# Without noise and masks it is told for sure whether the unit is in the sum. Noise leaves little of that, masks leave nothing: to somebody
# without one honest pair's key a masked reply is uniform, which is counted above. Other attacks: `fieldfare.attacks.labels`,
# `.differencing`, `.poisoning`, `.free_rider` ([measured](../measurements/attacks.md)).

# %% [markdown]
# What the audit sees and what it misses stands with its figures above. Every report of a simulation audits its own sums too. Attacks that
# once worked, and the test that holds each: [attacks.md](../attacks.md); what is promised, and what is not: [SECURITY](../../SECURITY.md).
