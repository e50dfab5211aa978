"""Peers on the same workload, each run as a process of its own by the Python of `.venv-peers` (`make bench-peers`)."""
