"""The protocol's side of the service: models by name and version, inferences from body to reply."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from api.errors import UnknownName
from api.framing import Body
from api.intake import with_defaults
from api.job import Job
from api.lanes import Lane
from api.models.catalogue import ModelAway
from api.notes import Use
from api.oip.description import Description, describe
from api.oip.intake import Arrival, make_job, raw_inference
from api.oip.rasters import RasterJob
from api.oip.repository import unready, version_of
from api.oip.requests import fuse_request, parse_inference
from api.oip.statistics import Statistics
from api.requests import FuseRequest
from api.service import Service
from fusion.errors import NotLoaded
from fusion.model import FusionModel
from fusion.shelf import ShelvedModel


@dataclass(frozen=True, slots=True)
class Place:
    """The model that a path names; `version` is None where the path has none."""

    model: str
    version: str | None


class OpenInference:
    """What the protocol's requests share; one for each process.

    Args:
        service: what all requests share.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.statistics = Statistics()
        self.raster_lanes = {
            name: Lane(f"{name} rasters", 1, service.settings.max_queue) for name in service.targets
        }
        self._descriptions: dict[str, Description] = {}
        service.keeper.forgotten.append(self._forget)

    def close(self) -> None:
        """Drop the rasters that wait."""
        for lane in self.raster_lanes.values():
            lane.close()

    def find(self, place: Place) -> ShelvedModel:
        """Return the model that a path names, at once.

        Raises:
            ModelAway: if that takes its time, as does finding out that there is none.
        """
        return self._find(place, self.service.find_model)

    def bring(self, place: Place) -> ShelvedModel:
        """Return the model that a path names, read from where it lies if need be; for a thread.

        Raises:
            UnknownName: if there is none, or not of this version.
            NotLoaded: if it was unloaded.
        """
        return self._find(place, self.service.bring_model)

    def _find(self, place: Place, find: Callable[[str], ShelvedModel]) -> ShelvedModel:
        shelved = find(place.model)
        model = shelved.model
        if place.version in (None, version_of(model)):
            return shelved
        if model.manifest is None:
            problem = f"{place.model!r} has no version {place.version!r}"
            raise UnknownName("version", problem, "the path without a version")
        return find(f"{model.name}:{place.version}")

    def check_ready(self, place: Place) -> None:
        """Return if a model takes inferences.

        Raises:
            UnknownName, NotLoaded: as `find`; or if it is not ready.
        """
        shelved = self.bring(place)
        reason = unready(self.service, shelved.model)
        if reason is not None:
            raise NotLoaded("model", reason)

    def describe(self, shelved: ShelvedModel) -> Description:
        """Return the tensors of a model; raises InvalidModel if it cannot be run anywhere."""
        digest = shelved.model.digest
        if digest not in self._descriptions:
            self._descriptions[digest] = describe(shelved.model)
        return self._descriptions[digest]

    def knows(self, name: str) -> bool:
        """Return whether preparing an inference of this model takes next to no time."""
        try:
            return self.service.find_model(name).model.digest in self._descriptions
        except ModelAway:
            return False

    def _forget(self, model: FusionModel) -> None:
        self._descriptions.pop(model.digest, None)

    def prepare(
        self,
        body: Body,
        place: Place,
        accept_encoding: str,
        started: float,
        use: Use,
    ) -> Job | RasterJob:
        """Return an inference ready to run; `use` is told its model and target.

        Raises:
            Elsewhere: if it belongs to another deployment.
            FusionError, UnknownTarget, NotSupported: if it cannot be run as it is.
        """
        if self.service.owners.all:
            self._leave_to_owner(body)
        shelved = self.find(place)
        try:
            count = self.statistics.succeed
            arrival = Arrival(started, accept_encoding, use, count, body.hop)
            description = self.describe(shelved)
            inference = parse_inference(body, self.service.settings.max_body_bytes)
            if isinstance(inference, bytes):
                inference = raw_inference(inference, description)
            return make_job(self.service, shelved, description, inference, arrival)
        except Exception:
            self.fail(shelved, started)
            raise

    def _leave_to_owner(self, body: Body) -> None:
        """Raise `Elsewhere` if another deployment owns the target.

        That comes before the model is looked for: the owner may have it where this deployment has
        not. Else as `prepare`.
        """
        inference = parse_inference(body, self.service.settings.max_body_bytes)
        fuse = FuseRequest()
        if not isinstance(inference, bytes):
            fuse = fuse_request(inference.request, [])
        fuse = with_defaults(fuse, body.hop)
        self.service.find_target(fuse.target, fuse.deadline_s)

    def fail(self, shelved: ShelvedModel, started: float) -> None:
        """Count an inference that failed."""
        self.statistics.fail(shelved.model, time.perf_counter() - started)
