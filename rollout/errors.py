"""What is refused about features, rulesets, waves, windows, grants and areas."""

from __future__ import annotations

from controlplane.base.refusal import Refusal


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


class ChangedMeanwhile(Refusal):
    """Against lost updates: the change was meant for another state than the present one."""

    code = "changed_meanwhile"
    status = 412
    title = "It was changed meanwhile"

    def __init__(self, what: str, revision: int | None = None) -> None:
        now = f"; it is at revision {revision} now" if revision is not None else ""
        super().__init__(
            f"Somebody changed this {what}{now}. Load it again and repeat your change.",
            extra={} if revision is None else {"revision": revision},
        )


class FeatureChanged(ChangedMeanwhile):
    def __init__(self, revision: int) -> None:
        super().__init__("feature", revision)


class AudienceUnknown(Refusal):
    code = "audience_unknown"
    status = 404
    title = "There is no such audience"

    def __init__(self, key: str) -> None:
        super().__init__(f"No audience has the key {key[:64]!r}. The list of audiences shows the keys that there are.")


class AudienceExists(Refusal):
    code = "audience_exists"
    status = 409
    title = "This key is taken"

    def __init__(self, key: str) -> None:
        super().__init__(f"There is an audience {key[:64]!r} already. Choose another key, or change that audience.")


class AudienceInvalid(Refusal):
    """`path` says which part of the audience, as in `any_of[0][1].values`."""

    code = "audience_invalid"
    status = 422
    title = "The audience can't be saved like this"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path or 'audience'}: {why} Nothing was changed.", extra={"path": path})


class AudienceInUse(Refusal):
    """`used_by` names every place, as in `features.voice-calls.rules[0]`."""

    code = "audience_in_use"
    status = 409
    title = "The audience is in use"

    def __init__(self, key: str, used_by: list[str]) -> None:
        more = f" and {len(used_by) - 3} more" if len(used_by) > 3 else ""
        super().__init__(
            f"The audience {key!r} is used by {', '.join(used_by[:3])}{more}. Take it out there first.",
            extra={"used_by": used_by},
        )


class RulesetInvalid(Refusal):
    """The whole set of features can't be published; the last published one stays in force."""

    code = "ruleset_invalid"
    status = 422
    title = "The ruleset can't be published"

    def __init__(self, why: str, path: str = "") -> None:
        super().__init__(f"{why} Nothing was published or changed.", extra={"path": path})


class DocumentInvalid(Refusal):
    """An imported or previewed document can't be used; `path` says where."""

    code = "document_invalid"
    status = 422
    title = "The document can't be used"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path or 'document'}: {why} Nothing was changed.", extra={"path": path})


class RulesetUnknown(Refusal):
    code = "ruleset_unknown"
    status = 404
    title = "There is no such ruleset"

    def __init__(self, version: int | str) -> None:
        super().__init__(f"No ruleset has the version {version}. The list of rulesets shows those that there are.")


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


class GrantsIgnored(Refusal):
    """The verb would hand out grants that give nobody the feature."""

    code = "grants_ignored"
    status = 409
    title = "Grants change nothing now"


class AreaExists(Refusal):
    code = "area_exists"
    status = 409
    title = "There is an area with this key already"


class GrantNotLive(Refusal):
    code = "grant_not_live"
    status = 409
    title = "This grant isn't in the state for that"
