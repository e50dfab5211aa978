"""Django's admin looks for an application's pages here; ours are in `console/`."""

from rollout.console import definitions, ledgers  # noqa: F401
