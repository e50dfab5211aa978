"""The stage of the signaling journeys: a launch, phones, and empty stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.journeys.signaling import Stage


@pytest.fixture
def stage(stack_environment: dict[str, str], redis_url: str, tmp_path: Path) -> Stage:
    from tests.journeys.signaling import build_stage  # Django's apps are loaded by now

    return build_stage(stack_environment, tmp_path)
