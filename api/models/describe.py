"""Models and their versions as replies."""

from datetime import UTC, datetime

from api.models.catalogue import Catalogue
from api.models.entry import Entry
from api.models.table import Family
from api.replies import (
    HeadDescription,
    ModelReply,
    ModelsReply,
    SensorDescription,
    VersionReply,
    VersionsReply,
)
from fusion.encoding import SensorEncoder
from fusion.errors import FusionError
from fusion.manifest import Manifest
from fusion.model import contract_of


def models_reply(models: Catalogue) -> ModelsReply:
    """Return every model as its name alone means it, and all that cannot be read."""
    return {
        "models": [
            {**model_reply(models, family, family.chosen), "owner": None}
            for family in models.families.values()
        ],
        "problems": [
            {"path": place, "field": error.field, "problem": error.problem}
            for place, error in models.problems()
        ],
    }


def versions_reply(family: Family) -> VersionsReply:
    """Return all versions of a model."""
    return {
        "name": family.name,
        "versions": [version_reply(family, entry) for entry in family.entries],
        "aliases": dict(family.aliases),
    }


def version_reply(family: Family, entry: Entry) -> VersionReply:
    """Return one version."""
    stored = entry.stored
    created = None if stored is None else datetime.fromtimestamp(stored.created_us / 1e6, UTC)
    return {
        "name": entry.name,
        "version": entry.version,
        "digest": entry.digest,
        "source": "models_dir" if stored is None else "store",
        "state": "unloaded" if family.unloaded else entry.state,
        "problem": entry.problem,
        "loaded": entry.shelved is not None and not family.unloaded,
        "created": None if created is None else created.isoformat(),
        "size_bytes": None if stored is None else stored.size_bytes,
        "aliases": family.aliases_of(entry),
    }


def model_reply(models: Catalogue, family: Family, entry: Entry) -> ModelReply:
    """Return one version with what its manifest says, as far as that can be read here."""
    reply: ModelReply = {
        **version_reply(family, entry),
        "versions": [one.label for one in family.entries],
        "default": entry is models.default,
        "description": "",
        "labels": [],
        "window_s": None,
        "sensors": {},
        "heads": {},
        "contract": None,
    }
    try:
        manifest, encoders = entry.manifest, entry.encoders
        if manifest is not None:
            reply["description"] = manifest.description
            reply["labels"] = list(manifest.labels)
            reply["window_s"] = manifest.window.length_s
            reply["heads"] = _heads(manifest)
        reply["sensors"] = {name: _sensor(encoder) for name, encoder in encoders.items()}
        reply["contract"] = contract_of(manifest).as_dict()
    except FusionError as error:
        reply["problem"] = reply["problem"] or str(error)
    return reply


def _heads(manifest: Manifest) -> dict[str, HeadDescription]:
    return {
        name: {
            "sensor": head.sensor,
            "node": head.node,
            "readout": head.readout,
            "read_at_s": head.read_at_s,
            "temperature": head.temperature,
            "reliability": head.reliability,
        }
        for name, head in manifest.heads.items()
    }


def _sensor(encoder: SensorEncoder) -> SensorDescription:
    sensor = encoder.sensor
    return {
        "unit": sensor.unit,
        "shape": list(sensor.shape),
        "channels": encoder.channels if sensor.unit == "events" else None,
        "rate_hz": sensor.rate_hz,
        "encoder": dict(sensor.encoder) if sensor.encoder else None,
        "description": sensor.description,
    }
