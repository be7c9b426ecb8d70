from pathlib import Path

import pytest
from support.api_models import write_shelf
from support.api_server import running

from api.settings import load_settings


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    """A server whose target `tiny` cannot run the model, and whose `absent` does not load."""
    configs = tmp_path_factory.mktemp("configs")
    numpy_yaml = (Path(__file__).parents[2] / "hw_configs" / "numpy.yaml").read_text()
    for name, old, new in (
        ("twin", "", ""),
        ("absent", "backend: numpy", "backend: none_such"),
        ("tiny", " LI,", ""),
    ):
        text = numpy_yaml.replace("name: numpy", f"name: {name}").replace(old, new)
        (configs / f"{name}.yaml").write_text(text)
    shelf = write_shelf(tmp_path_factory.mktemp("shelf"))
    with running(load_settings(models_dir=shelf, hw_configs=configs)) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture(scope="session")
def address(service):
    return str(service.client.base_url)
