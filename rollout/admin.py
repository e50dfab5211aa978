"""Django's admin looks for an application's pages here; ours are in `console/`."""

from rollout.console import areas, definitions, grants, waves, windows  # noqa: F401
