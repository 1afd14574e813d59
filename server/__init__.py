"""The coordinator's side: secure-sum rounds, training and evaluation on sums."""
