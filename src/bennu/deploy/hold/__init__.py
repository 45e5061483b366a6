"""Replicas that are held: the lease, its records, who keeps the time, what is found in them and harvested."""
