"""The shapes of the protocol's replies, published in the OpenAPI document."""

from typing import Any, NotRequired, TypedDict


class ErrorReply(TypedDict):
    """Why a request failed."""

    error: str


class LiveReply(TypedDict):
    """That the server answers."""

    live: bool


class ReadyReply(TypedDict):
    """That the server, or the model of this name, takes inferences."""

    ready: bool
    name: NotRequired[str]


class ServerMetadata(TypedDict):
    """The server, and the protocol's extensions that it knows."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(TypedDict):
    """One tensor of a model; a dimension of any size is -1."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(TypedDict):
    """A model's tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class TensorConfig(TypedDict):
    """One tensor of a model's configuration."""

    name: str
    data_type: str
    dims: list[int]
    optional: NotRequired[bool]


class ConfigValue(TypedDict):
    """A parameter's value as text."""

    string_value: str


class ModelConfig(TypedDict):
    """A model's configuration; `max_batch_size` 0: shapes say where a batch stands."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[TensorConfig]
    output: list[TensorConfig]
    parameters: dict[str, ConfigValue]


class IndexEntry(TypedDict):
    """One model of the repository; `reason` says why it is not READY."""

    name: str
    version: NotRequired[str]
    state: str
    reason: str


class LoadedReply(TypedDict):
    """The model that was loaded or unloaded."""

    name: str
    version: str
    digest: str


class DurationReply(TypedDict):
    """How often, and how long in all."""

    count: int
    ns: int


class ModelStatistics(TypedDict):
    """What was counted of one model since this process started."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: dict[str, DurationReply]
    batch_stats: list[Any]


class StatisticsReply(TypedDict):
    """What was counted of the models."""

    model_stats: list[ModelStatistics]


class OutputReply(TypedDict):
    """One tensor of an answer: `data`, or `binary_data_size` in `parameters`."""

    name: str
    datatype: str
    shape: list[int]
    parameters: NotRequired[dict[str, Any]]
    data: NotRequired[list[Any]]


class InferReply(TypedDict):
    """The answer to an inference; `parameters` hold target, contract, digest, steps and times."""

    model_name: str
    model_version: NotRequired[str]
    id: NotRequired[str]
    parameters: dict[str, Any]
    outputs: list[OutputReply]
