"""What runs: logs, the transactional loop, and the processes that stand on it."""
