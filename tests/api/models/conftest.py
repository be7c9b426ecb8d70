import pytest
from support.api_models import write_shelf
from support.api_server import running

from api.settings import load_settings


@pytest.fixture(scope="session")
def shelf_dir(tmp_path_factory):
    return write_shelf(tmp_path_factory.mktemp("shelf"))


@pytest.fixture
def start(shelf_dir, tmp_path):
    """Start servers that share a store of the test's own."""

    def started(**settings):
        chosen = {"models_dir": shelf_dir, "store": str(tmp_path / "store"), "targets": "numpy"}
        return running(load_settings(**chosen | settings))

    return started


@pytest.fixture
def server(start):
    with start() as made:
        made.wait_until_ready()
        yield made
