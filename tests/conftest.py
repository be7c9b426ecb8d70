import sys

import pytest
import structlog
from hypothesis import HealthCheck, settings

# A machine that is busy is no mistake of what is tested.
settings.register_profile(
    "without clocks", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("without clocks")


@pytest.fixture(scope="session", autouse=True)
def data_dir(tmp_path_factory):
    """Let no test write where the service of whoever runs it keeps its data."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNN_FUSION_DATA_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def uncached_loggers():
    """Let no logger keep the standard error of the test that used it first, or print to its output.

    A thread that a test left behind may still log while the next one reads what a command prints.
    """
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    configure = structlog.configure

    def uncached(**given):
        configure(**{**given, "cache_logger_on_first_use": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", uncached)
        yield


@pytest.fixture(autouse=True)
def log_as_before():
    """Log after each test as before it."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
