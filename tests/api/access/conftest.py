from pathlib import Path

import pytest
from support.access import KeysFile

ROOT = Path(__file__).parents[3]


@pytest.fixture
def keys(tmp_path) -> KeysFile:
    return KeysFile(tmp_path / "keys.yaml")


@pytest.fixture(scope="session")
def boards(tmp_path_factory) -> Path:
    """A folder of targets with one that passes for a board."""
    folder = tmp_path_factory.mktemp("boards")
    text = (ROOT / "hw_configs" / "numpy.yaml").read_text()
    assert "hardware: false" in text
    board = text.replace("name: numpy", "name: lab-board")
    (folder / "lab-board.yaml").write_text(board.replace("hardware: false", "hardware: true"))
    return folder
