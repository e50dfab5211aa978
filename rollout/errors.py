"""What is refused about features, rulesets, waves, windows, grants and areas."""

from __future__ import annotations

from controlplane.refusal import Refusal


class FeatureUnknown(Refusal):
    code = "feature_unknown"
    status = 404
    title = "There is no such feature"

    def __init__(self, key: str) -> None:
        super().__init__(f"No feature has the key {key[:64]!r}. The list of features shows the keys that there are.")


class FeatureExists(Refusal):
    code = "feature_exists"
    status = 409
    title = "This key is taken"

    def __init__(self, key: str) -> None:
        super().__init__(f"There is a feature {key[:64]!r} already. Choose another key, or change that feature.")


class FeatureInvalid(Refusal):
    """`path` says which part of the feature, as in `rules[0].share_ppm`."""

    code = "feature_invalid"
    status = 422
    title = "The feature can't be saved like this"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path or 'feature'}: {why} Nothing was changed.", extra={"path": path})


class FeatureKilled(Refusal):
    code = "feature_killed"
    status = 409
    title = "The feature is killed"

    def __init__(self) -> None:
        super().__init__("This feature is killed. Un-kill it first; that restores what it was before.")


class FeatureChanged(Refusal):
    code = "feature_changed"
    status = 412
    title = "The feature was changed meanwhile"

    def __init__(self, revision: int) -> None:
        super().__init__(
            f"Somebody changed this feature; it is at revision {revision} now. Load it again and repeat your change.",
            extra={"revision": revision},
        )


class RulesetInvalid(Refusal):
    """The whole set of features can't be published; the last published one stays in force."""

    code = "ruleset_invalid"
    status = 422
    title = "The ruleset can't be published"

    def __init__(self, why: str, path: str = "") -> None:
        super().__init__(f"{why} Nothing was published or changed.", extra={"path": path})


class WindowNotOpenable(Refusal):
    """A window opens once: from scheduled, before its closing time."""

    code = "window_not_openable"
    status = 409
    title = "This window can't be opened"


class WaveNotMovable(Refusal):
    """The verb can't be done from the wave's state."""

    code = "wave_not_movable"
    status = 409
    title = "This wave can't do that now"


class AreaExists(Refusal):
    code = "area_exists"
    status = 409
    title = "There is an area with this key already"


class GrantNotLive(Refusal):
    code = "grant_not_live"
    status = 409
    title = "This grant has ended already"
