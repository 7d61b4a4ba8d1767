"""Faults for tests: of the processes here, and of what users build on the contracts."""
