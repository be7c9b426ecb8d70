"""Writing models: a folder or a zip that `load_model` reads again."""

import io
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from fusion.errors import InvalidInput
from fusion.model import GRAPH, FusionModel
from fusion.samples import INDEX


def save_model(model: FusionModel, path: Path, samples: Path | None = None) -> None:
    """Write a model, whole or not at all.

    Args:
        model: a model that was read from files.
        path: a folder to make, or, ending in `.zip`, a file to write; neither may exist.
        samples: a model's folder whose samples are to go along, if it has any.

    Raises:
        InvalidInput: if the path exists, or the model is a graph in memory.
        OSError: if it cannot be written.
    """
    if GRAPH not in model.content:
        raise InvalidInput("model", "is a graph in memory", "a model that was read from files")
    if path.exists():
        raise InvalidInput("out", f"{path} exists", "a path that does not")
    files = {**model.content, **_samples(samples)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as place:
        made = Path(place) / path.name
        if path.suffix == ".zip":
            made.write_bytes(archive(files))
        else:
            for name, content in files.items():
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                (made / name).write_bytes(content)
        shutil.move(made, path)


def _samples(folder: Path | None) -> Mapping[str, bytes]:
    if folder is None or not (folder / INDEX).is_file():
        return {}
    place = (folder / INDEX).parent
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(place.rglob("*"))
        if file.is_file()
    }


def archive(files: Mapping[str, bytes], *, deflated: bool = True) -> bytes:
    """Return files as a zip; the same files give the same bytes.

    Args:
        files: name → content.
        deflated: False spares the time of compressing, which numbers of a graph hardly yield to.
    """
    how = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as made:
        for name in sorted(files):
            made.writestr(zipfile.ZipInfo(name), files[name], how)
    return out.getvalue()
