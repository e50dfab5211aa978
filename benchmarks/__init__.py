"""Figures that can be measured again: each module runs alone, as `python -m benchmarks.NAME [--json]`."""
