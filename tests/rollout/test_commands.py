"""`manage.py features` and `manage.py ruleset`: the same verbs as over REST, in words and for programs."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from controlplane.audit.models import AuditEntry
from rollout.models import Feature, Ruleset
from rollout.questions.evaluate import current
from rollout.rules.ruleset.definitions import FORMAT
from tests import builders, operators

pytestmark = pytest.mark.django_db


def run(*words: Any, **options: Any) -> str:
    said = io.StringIO()
    call_command(*map(str, words), stdout=said, **options)
    return said.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "features.json"
    document = {"format": FORMAT, "features": {"voice-calls": {"access": "everyone"}}}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_features__verbs__do_what_they_say_and_name_who_ran_them() -> None:
    operators.feature(on=False)

    for verb, more, said in [
        ("on", [], "is on"),
        ("access", ["rules"], "access: rules"),
        ("launch", [], "access: everyone"),
        ("off", [], "is off"),
        ("kill", ["--end-calls"], "is killed"),
        ("unkill", [], "is off"),
    ]:
        assert said in run("features", verb, "voice-calls", *more, "--reason", "Trying."), verb

    assert Feature.objects.get().stop_calls_before is not None
    entry = AuditEntry.objects.filter(verb="feature.launched").get()
    assert (entry.reason, entry.channel) == ("Trying.", "command_line")


def test_features__listed_and_shown__tell_how_they_are() -> None:
    operators.feature()

    assert run("features", "list").split()[:3] == ["voice-calls", "on", "granted"]
    assert json.loads(run("features", "show", "voice-calls"))["variants"] == {"on": True, "off": False}


def test_features__imported_with_a_dry_run_first__change_only_then(file: Path) -> None:
    operators.feature()
    builders.subscriber()

    dry = run("features", "import", file, "--dry-run")
    assert Feature.objects.get().access == "granted"
    preview = run("features", "preview", file)
    told = json.loads(run("features", "preview", file, "--json"))
    wet = run("features", "import", file)

    assert dry == wet == "1 change: 1 changed.\nThe feature voice-calls, access: “everyone” instead of “granted”.\n"
    assert "voice-calls: 1 gain it" in preview
    assert "voice-calls, country DE: 1 gains" in preview
    assert told["features"][0]["gains"] == 1
    assert json.loads(run("features", "import", file, "--json")) == {"dry_run": False, "changes": [], "remarks": []}


def test_features__exported_and_imported__change_nothing(tmp_path: Path) -> None:
    operators.feature()
    path = tmp_path / "export.json"
    path.write_text(run("features", "export"), encoding="utf-8")

    assert run("features", "import", path) == "Nothing changes.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["features", "on", "none"], "No feature has the key"),
        (["features", "show", "none"], "No feature has the key"),
        (["features", "import", "/nowhere"], "can't be read as JSON"),
        (["features", "preview", "/dev/null"], "can't be read as JSON"),
        (["ruleset", "show", "99"], "No ruleset has the version 99"),
        (["ruleset", "restore", "99"], "No ruleset has the version 99"),
    ],
)
def test_command__that_can_not_be_done__says_why(words: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        run(*words)


def test_ruleset__listed_compared_and_restored__goes_back_in_a_new_version() -> None:
    operators.feature()
    first = current().version
    run("features", "launch", "voice-calls")

    assert run("ruleset", "list").split()[0] == str(first + 1)
    assert json.loads(run("ruleset", "show", first))["features"]["voice-calls"]["access"] == "granted"
    assert "access: “everyone” instead of “granted”" in run("ruleset", "diff", first, first + 1)
    assert json.loads(run("ruleset", "diff", first, first + 1, "--json"))[0]["after"] == "everyone"
    assert "access: “granted” instead of “everyone”" in run("ruleset", "restore", first)

    assert current().version == first + 2
    assert Feature.objects.get().access == "granted"
    assert run("ruleset", "publish") == f"Ruleset {first + 2} is current.\n"
    assert Ruleset.objects.count() == first + 2
