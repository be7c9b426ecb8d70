"""Inferences of the Open Inference Protocol, by its own client and by hand."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import nir
import numpy as np
import tritonclient.http as triton
import yaml
from numpy.typing import NDArray
from support.api_models import CAM_EVENTS, listening_graph, listening_manifest, tone, write_shelf
from tritonclient.utils import np_to_triton_dtype

from fusion.model import load_model

INFER = "/v2/models/listening/infer"


def write_oip_shelf(folder: Path) -> Path:
    """Write the shelf of the other tests, a second model, and the first one's bare graph."""
    write_shelf(folder)
    for name in ("spare", "bare"):
        (folder / name).mkdir()
        nir.write(folder / name / "graph.nir", listening_graph())
    (folder / "spare" / "fusion.yaml").write_text(
        yaml.safe_dump(listening_manifest() | {"name": "spare"})
    )
    write_solo(folder / "solo")
    return folder


def write_solo(folder: Path) -> None:
    """Write a model of the camera alone."""
    whole, manifest = listening_graph(), listening_manifest() | {"name": "solo"}
    nodes = {name: node for name, node in whole.nodes.items() if name.startswith("cam")}
    edges = [edge for edge in whole.edges if edge[0] in nodes]
    folder.mkdir()
    nir.write(folder / "graph.nir", nir.NIRGraph(nodes, edges))
    only = {part: {"cam": manifest[part]["cam"]} for part in ("sensors", "heads")}
    (folder / "fusion.yaml").write_text(yaml.safe_dump(manifest | only))


def bare_name(folder: Path) -> str:
    """Return what the bare graph of a shelf is called."""
    return load_model(folder / "bare").name


def given(name: str, values: NDArray[Any], binary: bool = True, **parameters: Any) -> Any:
    """Return an input of tritonclient."""
    made = triton.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
    made.set_data_from_numpy(values, binary_data=binary)
    made._parameters.update(parameters)
    return made


def cam(binary: bool = True) -> list[Any]:
    """Return the camera's events as two inputs."""
    return [
        given("cam.times_us", np.array(CAM_EVENTS["times_us"], np.int64), binary),
        given("cam.channels", np.array(CAM_EVENTS["channels"], np.int32), binary),
    ]


def mic(binary: bool = True) -> Any:
    """Return the microphone's samples as an input."""
    return given("mic.samples", np.array(tone(), np.float64), binary, rate_hz=8000)


def raster(steps: int = 40, dt_us: int = 5000) -> NDArray[np.float32]:
    """Return the camera's events as the raster [1, steps, 2, 2] that they are binned into."""
    made = np.zeros((steps, 4), np.float32)
    for time_us, channel in zip(CAM_EVENTS["times_us"], CAM_EVENTS["channels"], strict=True):
        made[time_us // dt_us, channel] += 1
    return made.reshape(1, steps, 2, 2)


def entry(name: str, datatype: str, values: Sequence[Any], **parameters: Any) -> dict[str, Any]:
    """Return an input as JSON holds it, its shape that of the nested values."""
    shape = list(np.shape(values))
    flat = np.array(values).reshape(-1).tolist()
    made = {"name": name, "datatype": datatype, "shape": shape, "data": flat}
    return made | ({"parameters": parameters} if parameters else {})


def cam_json() -> list[dict[str, Any]]:
    """Return the camera's events as JSON inputs."""
    return [
        entry("cam.times_us", "INT64", CAM_EVENTS["times_us"]),
        entry("cam.channels", "INT32", CAM_EVENTS["channels"]),
    ]


def outputs_of(reply: httpx.Response) -> Mapping[str, Any]:
    """Return name → data of a JSON reply."""
    assert reply.status_code == 200, reply.text
    return {one["name"]: one["data"] for one in reply.json()["outputs"]}


def refused(reply: httpx.Response, status: int, *says: str) -> str:
    """Return the error text of a reply, after checking its form, its status and what it says."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/json"
    content = json.loads(reply.content)
    assert list(content) == ["error"]
    text: str = content["error"]
    assert "Traceback" not in text
    for part in says:
        assert part in text, text
    return text
