"""What all tests share: their environment, and the services that some of them ask for.

A service starts when the first test asks for it. Where it cannot be had its tests are skipped and
the last lines of the run say so; with RASA_HYBRID_REQUIRE_SERVICES=1, as in .ci/run, they fail, and
so does a run that skipped anything else.
"""

import os
import subprocess
from collections import Counter
from contextlib import ExitStack
from typing import Any, ContextManager, Iterator, List, NoReturn

import pytest

from tests import services

# Before anything imports Rasa or TensorFlow, here and in the processes that tests start.
os.environ.setdefault("RASA_TELEMETRY_ENABLED", "false")
os.environ.setdefault("SQLALCHEMY_SILENCE_UBER_WARNING", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# The models here are too small to gain from more threads, and the workers of a run share the cores.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

SERVICES_REQUIRED = os.environ.get("RASA_HYBRID_REQUIRE_SERVICES") == "1"
MARKER_OF_FIXTURE = {"postgres_url": "postgres", "redis_url": "redis", "browser": "browser"}
START_ERRORS = (services.ServiceUnavailableError, OSError, subprocess.SubprocessError)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """SQLAlchemy URL of a PostgreSQL server that only this test run uses."""
    with ExitStack() as stack:
        yield _started("PostgreSQL", services.postgres(), stack)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """URL of a Redis server that only this test run uses."""
    with ExitStack() as stack:
        yield _started("Redis", services.redis_server(), stack)


@pytest.fixture(scope="session")
def browser() -> str:
    """Path of Chromium or Chrome; as root it needs `--no-sandbox`."""
    try:
        return services.chromium()
    except START_ERRORS as error:
        _unavailable("Chromium", error)


@pytest.fixture(scope="module")
def chromium(browser: str) -> Iterator[Any]:
    """Chromium, started: a `playwright.sync_api.Browser`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        yield launched
        launched.close()


def _started(name: str, service: ContextManager[str], stack: ExitStack) -> str:
    try:
        return stack.enter_context(service)
    except START_ERRORS as error:
        _unavailable(name, error)


def _unavailable(name: str, error: Exception) -> NoReturn:
    reason = f"{name} is not available: {error}"
    if SERVICES_REQUIRED:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    """Marks the tests that use a service, before `-m` is applied."""
    for item in items:
        for fixture in MARKER_OF_FIXTURE.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(MARKER_OF_FIXTURE[fixture])


def pytest_sessionfinish(session: pytest.Session) -> None:
    if SERVICES_REQUIRED and _skip_reasons(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    reasons = Counter(_skip_reasons(config))
    for reason, tests in sorted(reasons.items()):
        terminalreporter.line(f"SKIPPED, {tests} tests: {reason}", yellow=True)
    if reasons and SERVICES_REQUIRED:
        terminalreporter.line(
            "RASA_HYBRID_REQUIRE_SERVICES=1: a run that skips tests fails.", red=True
        )


def _skip_reasons(config: pytest.Config) -> List[str]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter else []
    # Of a skipped test `longrepr` is (file, line, "Skipped: reason"), of an expected failure it is not.
    reasons = [report.longrepr[2] for report in reports if isinstance(report.longrepr, tuple)]
    return [reason.split("Skipped: ", 1)[-1] for reason in reasons]
