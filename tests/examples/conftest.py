import shutil
import sys
from pathlib import Path

import pytest

from fusion.samples import list_samples

EXAMPLE = Path(__file__).parents[2] / "examples" / "av_digits"

# The example is a script's folder, not an installed package.
sys.path.insert(0, str(EXAMPLE))


@pytest.fixture(scope="session")
def sights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the shipped camera recordings as N-MNIST folders lay them out."""
    folder = tmp_path_factory.mktemp("nmnist")
    lines = ["#sample #class"]
    for sample in list_samples(EXAMPLE):
        file = sample.files["vision"]
        number = file.removeprefix("nmnist_").removesuffix(".bs2")
        shutil.copy(EXAMPLE / "samples" / file, folder / f"{number}.bs2")
        lines.append(f"{number}\t{sample.label}")
    (folder / "labels.txt").write_text("\n".join(lines))
    return folder
