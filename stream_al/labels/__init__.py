"""From answers to training records: the ledger."""
