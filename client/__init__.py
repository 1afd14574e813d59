"""The institution's side: records, bounded sums, the ledger and the door."""
