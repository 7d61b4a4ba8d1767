"""The dashboards and rules, held against their declarations and against live processes."""
