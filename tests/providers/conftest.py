"""The scene of the providers' tests; imported late, when Django's apps are loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.providers.process import Scene


@pytest.fixture
def scene(stack_environment: dict[str, str], redis_url: str, tmp_path: Path) -> Iterator[Scene]:
    from tests.providers.process import running_scene

    with running_scene(stack_environment, tmp_path) as running:
        yield running
