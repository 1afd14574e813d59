# %% [markdown]
# # Attack it yourself
#
# A promise that nobody tries to break is worth little. The audit puts records with a coin each (canaries) the whole way of a deployment:
# read, split, summed, noised, masked, debited, decoded. It knows all of them, so what is left of a release is noise, and that has to be what
# the plan owes.

# %%
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
# What the audit sees and what it misses stands with its figures above. Every report of a simulation audits its own sums too. Attacks that
# once worked, and the test that holds each: [attacks.md](../attacks.md); what is promised, and what is not: [SECURITY](../../SECURITY.md).
