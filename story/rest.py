"""The operators' and phones' HTTP, seen from outside."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from story.progress import progress


class Refused(Exception):
    """A problem details answer; `problem` is the whole object."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"{status} {problem.get('code')}: {problem.get('detail')}")
        self.status = status
        self.problem = problem


def http(method: str, url: str, body: object = None, headers: dict[str, str] | None = None) -> Any:
    """One request with JSON in and out. Raises `Refused` for every status of 400 and above."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"Accept": "application/json"})
    if data is not None:
        request.add_header("Content-Type", "application/json")
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            raw = answer.read()
    except urllib.error.HTTPError as error:
        raw = error.read()
        try:
            problem = json.loads(raw)
        except ValueError:
            problem = {"code": f"http_{error.code}", "detail": raw[:200].decode(errors="replace")}
        raise Refused(error.code, problem) from None
    return json.loads(raw) if raw else None


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator's script: the REST of the web, with an API key."""

    base: str
    key: str

    def get(self, path: str) -> Any:
        return http("GET", f"{self.base}/api/{path}", headers={"X-API-Key": self.key})

    def all(self, path: str) -> list[dict[str, Any]]:
        """Every row of a list, whether the answer is paginated or not."""
        answer = self.get(path)
        rows = list(answer["results"] if isinstance(answer, dict) else answer)
        while isinstance(answer, dict) and answer.get("next"):
            answer = http("GET", answer["next"], headers={"X-API-Key": self.key})
            rows += answer["results"]
        return rows

    def post(self, path: str, body: object = None) -> Any:
        return http("POST", f"{self.base}/api/{path}", body or {}, {"X-API-Key": self.key})

    def patch(self, path: str, body: object) -> Any:
        return http("PATCH", f"{self.base}/api/{path}", body, {"X-API-Key": self.key})


def ofrep(base: str, token: str, feature: str) -> Any:
    """What OFREP says to the bearer of an access token about one feature."""
    url = f"{base}/ofrep/v1/evaluate/flags/{feature}"
    return http("POST", url, {"context": {}}, {"Authorization": f"Bearer {token}"})


def my_features(base: str, token: str) -> dict[str, dict[str, Any]]:
    """What `/v1/me/features` says, by feature key."""
    answer = http("GET", f"{base}/v1/me/features", headers={"Authorization": f"Bearer {token}"})
    return {row["key"]: row for row in answer["features"]}


def wait_until(what: str, seconds: float, look: Callable[[], Any], every: float = 0.2) -> Any:
    """Look again and again until something true is seen; returns it, or the last look when the time is over."""
    end = time.monotonic() + seconds
    with progress.awaiting(what):
        while not (seen := look()) and time.monotonic() <= end:
            time.sleep(every)
    return seen
