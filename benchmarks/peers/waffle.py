"""django-waffle on what it can say of the workload: users, groups for country and cohort, and 10 % of all.

It knows neither versions nor a share within an audience, and draws the percentage anew for each request. Flags are in
memory (Django's local cache), people and groups in SQLite in memory, as waffle asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.http import HttpRequest

from benchmarks.peers.turns import serve
from benchmarks.workload import Person, flags, people


def prepare() -> Callable[[Person], Sequence[bool]]:
    settings.configure(
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "waffle"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()
    call_command("migrate", verbosity=0)
    from django.contrib.auth.models import Group, User
    from waffle import flag_is_active
    from waffle.models import Flag

    groups: dict[str, Any] = {}

    def group(name: str) -> Any:
        if name not in groups:
            groups[name] = Group.objects.create(name=name)
        return groups[name]

    users = {}
    for person in people():
        users[person.id] = User.objects.create(username=person.id)
        users[person.id].groups.set([group(person.traits["country"]), group(person.traits["cohort"])])
    by_account = {person.traits["account"]: users[person.id] for person in people()}
    for flag in flags():
        row = Flag.objects.create(name=flag.key, percent=10)
        row.groups.set([group(name) for name in (*flag.countries, *flag.cohorts)])
        row.users.set([by_account[account] for account in flag.allowed if account in by_account])
    keys = [flag.key for flag in flags()]

    def decide(person: Person) -> Sequence[bool]:
        request = HttpRequest()
        request.user = users[person.id]
        return [bool(flag_is_active(request, key)) for key in keys]

    return decide


if __name__ == "__main__":
    serve("django-waffle", prepare, notes="users, groups and a drawn 10 % only")
