"""Settings of a deployment, from the environment.

Precedence, highest first: what the caller passes (command-line options), the environment
(`SNN_FUSION_` and the field's name in capitals), files of the same names in `SECRETS_DIR`, the
defaults below.
"""

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from api.redis.url import check_url
from backends.limits import DEFAULT_SIZES, SizeLimits
from fusion.limits import DEFAULT_LIMITS, ModelLimits

PREFIX = "SNN_FUSION_"
NONE = "none"
"""In `targets`: no target is served here."""
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def _state_folder() -> Path:
    """Return the folder for this user's service, as the XDG Base Directory Specification says."""
    given = os.environ.get("XDG_STATE_HOME", "")
    try:
        base = Path(given) if Path(given).is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError:  # a container's user without a home
        return Path(tempfile.gettempdir(), f"snn-fusion-{os.getuid()}")
    return base / "snn-fusion"


class InvalidSettings(ValueError):
    """A setting is wrong; the message names the environment variable."""


class Settings(BaseSettings):
    """One deployment's settings.

    Attributes:
        env: `production` logs JSON; `development` binds to this machine only.
        log_level: least severe level that is logged.
        workers: server processes.
        port: TCP port.
        host: address to bind; by default 127.0.0.1 in development, else every address.
        targets: targets served here, comma-separated; empty for every configured one that is not
            among the peers', `none` for a front that serves none itself.
        peers: `TARGET=URL`, comma-separated: deployments that own targets not served here.
        target: target of a request that names none; by default `cpu` where Numba works, else
            `numpy`, else the first one served.
        model: model of a request that names none; by default the first one on the shelf.
        models_dir: folder of models.
        hw_configs: folder of targets that add to or override those that ship.
        max_model_bytes: size of a model's files, and of what its graph unpacks to.
        max_read_s: seconds of computing that reading one model may take, by the clock three times
            as many.
        max_nodes: nodes of one model; its edges may be five times as many.
        max_neurons: neurons in one model, on whatever target.
        max_synapses: weights that are not 0 in one model.
        max_values: values that all nodes of one model put out in a step.
        max_delay_values: values that all delays of one model hold back.
        max_body_bytes: size of a request body, before and after inflating it.
        max_events: events of one sensor.
        max_samples: samples of one sensor.
        max_duration_s: length of one sensor's recording.
        max_steps: time steps of one run.
        max_input_values: values of all Input and Output nodes in all steps of one run.
        max_record_values: values recorded in one run: steps times neurons and quantities.
        max_queue: requests that wait for one target; one more is refused at once.
        threads: requests that run on one target at the same time.
        max_batch_size: requests that share a run; by default what the target's file says.
        max_queue_delay_us: microseconds that a request waits for others while its target runs
            something and yet has a free thread; by default what the target's file says.
        programs: compiled programs kept.
        shadow_target: target on which a share of the live requests is run again; by default none.
        shadow_share: that share.
        drain_s: seconds to go on serving, not ready, after a request to stop.
        linger_s: seconds that idle connections then stay open, so that a request that is on its way
            is answered; the reply asks the client to go on over another connection.
        shutdown_s: seconds that running requests then have to finish.
        hang_s: seconds after which a server process whose event loop stands still is replaced.
        max_connections: open connections of one server process; one more is refused at once.
        head_s: seconds in which the head of a request has to arrive.
        transfer_s: seconds after which a request's body must have come, and a reply be taken, by at
            least 500 bytes each.
        keep_alive_s: seconds that a connection may wait for its next request.
        store: folder or URL of the uploaded models; by default `models` in `data_dir`.
        uploads: whether models may be uploaded, deleted, loaded and unloaded here.
        store_poll_s: seconds after which it is looked again what others changed in the store.
        models_memory_mib: models and programs in memory, in each process; uploaded models beyond it
            leave and are read again when they are asked for.
        data_dir: folder for what the service writes; made when it is first needed.
        redis_url: what worker processes and replicas share: `redis://`, `rediss://` or `unix://`;
            by default a server of the service's own, with its data in `data_dir`.
        redis_ca_file: certificates that sign that of a `rediss://` server; by default the system's.
        keys_file: keys that callers are asked for; needed outside development.
        without_keys: serve whoever asks outside development, too.
        open_metrics: whether `/metrics` may be asked without a key.
        audit_file: where the audit log goes; by default to standard error, with the log.
        secrets_dir: folder of files, each named like a variable and holding its value.
        cache_ttl_s: seconds that answers are kept in Redis; 0: none are.
        cache_min_run_ms: from this median of its runs on, milliseconds, a model's answers are kept.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    env: Literal["production", "staging", "development"] = "development"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    workers: int = Field(default=1, ge=1, le=256)
    port: int = Field(default=8080, ge=1, le=65535)
    host: str = Field(
        default_factory=lambda data: (
            "127.0.0.1" if data.get("env", "development") == "development" else "0.0.0.0"
        ),
        min_length=1,
    )
    targets: Annotated[tuple[str, ...], NoDecode] = ()
    peers: Annotated[Mapping[str, str], NoDecode] = Field(default_factory=dict)
    target: str = Field(default_factory=lambda data: _default_target(**data))
    model: str | None = None
    models_dir: Path = EXAMPLES
    hw_configs: Path | None = None
    max_model_bytes: int = Field(default=DEFAULT_LIMITS.file_bytes, ge=1, le=2**31)
    max_read_s: int = Field(default=DEFAULT_LIMITS.cpu_s, ge=1, le=3600)
    max_nodes: int = Field(default=DEFAULT_LIMITS.nodes, ge=1)
    max_neurons: int = Field(default=DEFAULT_SIZES.neurons, ge=1)
    max_synapses: int = Field(default=DEFAULT_SIZES.synapses, ge=1)
    max_values: int = Field(default=DEFAULT_SIZES.values, ge=1)
    max_delay_values: int = Field(default=DEFAULT_SIZES.delay_values, ge=1)
    max_body_bytes: int = Field(default=32 * 2**20, ge=1)
    max_events: int = Field(default=1_000_000, ge=1)
    max_samples: int = Field(default=5_000_000, ge=1)
    max_duration_s: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    max_steps: int = Field(default=10_000, ge=1)
    max_input_values: int = Field(default=50_000_000, ge=1)
    max_record_values: int = Field(default=5_000_000, ge=1)
    max_queue: int = Field(default=64, ge=0)
    threads: int = Field(default=2, ge=1, le=256)
    max_batch_size: int | None = Field(default=None, ge=1, le=1024)
    max_queue_delay_us: int | None = Field(default=None, ge=0, le=1_000_000)
    programs: int = Field(default=16, ge=1)
    shadow_target: str | None = None
    shadow_share: float = Field(default=0.01, ge=0, le=1, allow_inf_nan=False)
    drain_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    linger_s: float = Field(default=5.0, ge=0, allow_inf_nan=False)
    shutdown_s: int = Field(default=30, ge=1)
    hang_s: float = Field(default=60.0, gt=1, allow_inf_nan=False)
    max_connections: int = Field(default=10_000, ge=1)
    head_s: float = Field(default=20.0, gt=0, allow_inf_nan=False)
    transfer_s: float = Field(default=20.0, gt=0, allow_inf_nan=False)
    keep_alive_s: float = Field(default=75.0, gt=0, allow_inf_nan=False)
    store: str | None = Field(default=None, min_length=1)
    uploads: bool = True
    store_poll_s: float = Field(default=5.0, ge=0.05, le=86400, allow_inf_nan=False)
    models_memory_mib: int = Field(default=1024, ge=1)
    data_dir: Path = Field(default_factory=_state_folder)
    redis_url: SecretStr | None = None
    redis_ca_file: Path | None = None
    keys_file: Path | None = None
    without_keys: bool = False
    open_metrics: bool = False
    audit_file: Path | None = None
    secrets_dir: Path | None = None
    cache_ttl_s: float = Field(default=300.0, ge=0, le=2_592_000)
    cache_min_run_ms: float = Field(default=1.0, ge=0, allow_inf_nan=False)

    @property
    def store_address(self) -> str:
        """Where uploaded models lie."""
        return str(self.data_dir / "models") if self.store is None else self.store

    @property
    def model_limits(self) -> ModelLimits:
        """How large a model's files may be."""
        return ModelLimits(
            file_bytes=self.max_model_bytes,
            content_bytes=self.max_model_bytes,
            nodes=self.max_nodes,
            edges=5 * self.max_nodes,
            objects=25 * self.max_nodes,
            cpu_s=self.max_read_s,
            wall_s=3 * self.max_read_s,
        )

    @property
    def size_limits(self) -> SizeLimits:
        """How large a model may be that is made ready to run."""
        return SizeLimits(
            neurons=self.max_neurons,
            synapses=self.max_synapses,
            values=self.max_values,
            delay_values=self.max_delay_values,
        )

    def served(self, known: Iterable[str]) -> tuple[str, ...]:
        """Return the targets served here, of all that are known."""
        if self.targets == (NONE,):
            return ()
        return self.targets or tuple(name for name in known if name not in self.peers)

    @field_validator("peers", mode="before")
    @classmethod
    def _addresses(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return dict(_address(part.strip()) for part in value.split(",") if part.strip())

    @field_validator("targets", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("port", mode="before")
    @classmethod
    def _no_service_link(cls, value: object) -> object:
        if isinstance(value, str) and "://" in value:
            raise ValueError(
                "is the link that Kubernetes sets for a Service called snn-fusion; set "
                "enableServiceLinks: false, or set the port itself"
            )
        return value

    @field_validator("store")
    @classmethod
    def _leads_somewhere(cls, value: str | None) -> str | None:
        if value is not None:
            from api.models.remote import make_objects  # noqa: PLC0415

            make_objects(value)
        return value

    @field_validator("redis_url")
    @classmethod
    def _names_a_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_url(value.get_secret_value())
        return value

    @field_validator("redis_ca_file")
    @classmethod
    def _is_file(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError("is not a file")
        return value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.absolute()

    @field_validator("models_dir", "hw_configs", "secrets_dir")
    @classmethod
    def _is_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError("is not a folder")
        return value

    @model_validator(mode="after")
    def _serves_its_default(self) -> "Settings":
        both = [name for name in self.targets if name in self.peers]
        if both:
            raise ValueError(f"{PREFIX}PEERS: {both[0]!r} is among {PREFIX}TARGETS, too")
        if self.targets and self.target not in {*self.targets, *self.peers} - {NONE}:
            raise ValueError(
                f"{PREFIX}TARGET: {self.target!r} is not among {PREFIX}TARGETS "
                f"({', '.join(self.targets)}) and {PREFIX}PEERS"
            )
        return self


SECRETS = frozenset(
    f"{PREFIX}{name}".upper()
    for name, field in Settings.model_fields.items()
    if SecretStr in get_args(field.annotation)
)
"""Variables whose values are never shown."""


def _default_target(
    targets: Sequence[str] = (), peers: Mapping[str, str] | None = None, **_: object
) -> str:
    if targets == (NONE,):
        return next(iter(peers or {}), NONE)
    # The supervisor does without NumPy and Numba, where it is told the target.
    from backends.cpu_backend import default_target  # noqa: PLC0415

    return default_target(targets)


def _address(entry: str) -> tuple[str, str]:
    """Return target and URL of an entry of the peers."""
    target, sign, url = (part.strip() for part in entry.partition("="))
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not (target and sign and usable) or parts.query or parts.fragment or parts.username:
        raise ValueError(f"{entry!r} is not TARGET=http://HOST:PORT or TARGET=https://HOST")
    return target, url.rstrip("/")


def load_settings(**overrides: Any) -> Settings:
    """Return the settings: overrides (by field name) before environment, secrets and defaults.

    Raises:
        InvalidSettings: naming every variable that is wrong, one a line.
    """
    secrets = overrides.get("secrets_dir") or os.environ.get(f"{PREFIX}SECRETS_DIR")
    folder = secrets if secrets and Path(secrets).is_dir() else None
    try:
        return Settings(**{"_secrets_dir": folder, **overrides})
    except ValidationError as error:
        raise InvalidSettings("\n".join(_lines(error))) from None


def _lines(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors():
        if problem["type"] == "default_factory_not_called":  # only a consequence of another one
            continue
        message = problem["msg"].removeprefix("Value error, ")
        if problem["loc"]:
            name = f"{PREFIX}{problem['loc'][0]}".upper()
            secret = name in SECRETS
            message = f"{name}: {message}" if secret else f"{name}: {problem['input']!r}: {message}"
        lines.append(message)
    return lines


def effective(settings: Settings) -> dict[str, str]:
    """Return variable → value as it is in effect, with secrets masked."""
    shown = {}
    for field in type(settings).model_fields:
        value = getattr(settings, field)
        name = f"{PREFIX}{field}".upper()
        if isinstance(value, SecretStr):
            shown[name] = "********"
        elif isinstance(value, tuple):
            shown[name] = ",".join(map(str, value))
        elif isinstance(value, Mapping):
            shown[name] = ",".join(f"{key}={one}" for key, one in value.items())
        else:
            shown[name] = "" if value is None else str(value)
    return shown
