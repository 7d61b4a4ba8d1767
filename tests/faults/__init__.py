"""Runs under faults: simulated schedules, and real processes on real logs."""
