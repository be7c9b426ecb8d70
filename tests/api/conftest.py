from pathlib import Path

import pytest
from support.api_models import write_shelf
from support.api_server import running

from api.settings import load_settings

ENERGY = """energy: {model: guessed, citation: none, pj_per_synaptic_event: 20,
         pj_per_neuron_update: 50, excludes: [host]}"""


@pytest.fixture(scope="session")
def shelf_dir(tmp_path_factory) -> Path:
    return write_shelf(tmp_path_factory.mktemp("shelf"))


@pytest.fixture(scope="session")
def server(shelf_dir, tmp_path_factory):
    """A server with small limits; targets: the reference, a twin that knows its energy, a weak
    one, an absent one.
    """
    configs = tmp_path_factory.mktemp("configs")
    numpy_yaml = (Path(__file__).parents[2] / "hw_configs" / "numpy.yaml").read_text()
    absent = numpy_yaml.replace("name: numpy", "name: absent").replace(
        "backend: numpy", "backend: none_such"
    )
    (configs / "absent.yaml").write_text(absent)
    twin = numpy_yaml.replace("name: numpy", "name: twin")
    (configs / "twin.yaml").write_text(twin.replace("energy_unknown:", f"{ENERGY}\n#"))
    tiny = numpy_yaml.replace("name: numpy", "name: tiny").replace(" LI,", "")
    (configs / "tiny.yaml").write_text(tiny.replace("[float64, float32]", "[float32]"))
    settings = load_settings(
        models_dir=shelf_dir,
        hw_configs=configs,
        max_events=1000,
        max_samples=20_000,
        max_duration_s=2.0,
        max_steps=2000,
        max_body_bytes=2_000_000,
        max_record_values=20_000,
    )
    with running(settings) as server:
        server.wait_until_ready()
        yield server
