from pathlib import Path

import pytest
import tritonclient.http as triton
import yaml
from support.api_server import running
from support.oip import bare_name, write_oip_shelf

from api.settings import load_settings


@pytest.fixture(scope="session")
def oip_shelf(tmp_path_factory):
    return write_oip_shelf(tmp_path_factory.mktemp("oip_shelf"))


@pytest.fixture(scope="session")
def bare(oip_shelf):
    """The name of a graph without manifest."""
    return bare_name(oip_shelf)


@pytest.fixture(scope="session")
def oip(oip_shelf, tmp_path_factory):
    """A server with small limits; the target `chip` is the reference with a chip's energies."""
    configs = tmp_path_factory.mktemp("oip_configs")
    folder = Path(__file__).parents[3] / "hw_configs"
    numpy_yaml = yaml.safe_load((folder / "numpy.yaml").read_text())
    energy = yaml.safe_load((folder / "loihi-emulator.yaml").read_text())["energy"]
    del numpy_yaml["energy_unknown"]
    chip = yaml.safe_dump(numpy_yaml | {"name": "chip", "energy": energy})
    (configs / "chip.yaml").write_text(chip)
    settings = load_settings(
        models_dir=oip_shelf,
        model="listening",
        hw_configs=configs,
        max_body_bytes=500_000,
        max_record_values=50_000,
        max_steps=500,
    )
    with running(settings) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture(scope="module")
def client(oip):
    address = str(oip.client.base_url).rstrip("/").removeprefix("http://")
    with triton.InferenceServerClient(address) as made:
        yield made
