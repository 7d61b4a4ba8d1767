"""What only the embedded log has: leases, retention, full disks, processes on one host."""
