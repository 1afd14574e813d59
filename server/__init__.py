"""What a coordinator runs: secure-sum rounds, training and evaluation on sums."""
