"""The server and its models as the protocol describes them."""

from collections.abc import Sequence
from importlib.metadata import version

from api.oip.description import Description, Spec
from api.oip.replies import (
    ConfigValue,
    ModelConfig,
    ModelMetadata,
    ServerMetadata,
    TensorConfig,
    TensorMetadata,
)
from api.oip.repository import version_of
from api.settings import Settings
from fusion.model import FusionModel

EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
]
PLATFORM = "nir"


def server_metadata() -> ServerMetadata:
    """Return the server's metadata."""
    return {"name": "snn-fusion", "version": version("snn-fusion"), "extensions": EXTENSIONS}


def model_metadata(model: FusionModel, description: Description) -> ModelMetadata:
    """Return a model's metadata: what it takes, and everything it can give."""
    own = version_of(model)
    return {
        "name": model.name,
        "versions": [own] if own else [],
        "platform": PLATFORM,
        "inputs": _tensors(description.inputs),
        "outputs": _tensors((*description.outputs, *description.records)),
    }


def model_config(model: FusionModel, description: Description, settings: Settings) -> ModelConfig:
    """Return a model's configuration."""
    values = {"digest": model.digest}
    if model.manifest is not None:
        values |= {
            "description": model.manifest.description,
            "labels": ",".join(model.manifest.labels),
            "window_s": str(model.manifest.window.length_s),
        }
    parameters: dict[str, ConfigValue] = {
        name: {"string_value": value} for name, value in values.items()
    }
    return {
        "name": model.name,
        "platform": PLATFORM,
        "backend": settings.target,
        "max_batch_size": 0,
        "input": _configs(description.inputs),
        "output": _configs((*description.outputs, *description.records)),
        "parameters": parameters,
    }


def _tensors(specs: Sequence[Spec]) -> list[TensorMetadata]:
    return [
        {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)} for spec in specs
    ]


def _configs(specs: Sequence[Spec]) -> list[TensorConfig]:
    return [_config(spec) for spec in specs]


def _config(spec: Spec) -> TensorConfig:
    datatype = "STRING" if spec.datatype == "BYTES" else spec.datatype
    made: TensorConfig = {
        "name": spec.name,
        "data_type": f"TYPE_{datatype}",
        "dims": list(spec.shape),
    }
    if spec.optional:
        made["optional"] = True
    return made
