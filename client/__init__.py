"""What an institution runs: records, bounded sums, the ledger and the door."""
