"""One suite for all logs: what `consumers.log` promises, held by every implementation."""
