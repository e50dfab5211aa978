"""Django's admin looks for an application's pages here; ours are in `console/`."""

from rollout.console import areas, audiences, features, grants, rulesets, waves, windows  # noqa: F401
