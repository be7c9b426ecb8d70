"""Whether the service has started, is ready for requests, or drains."""

from dataclasses import dataclass


@dataclass(slots=True)
class Health:
    """State behind the probes; written by the warm-up and by the server that is told to stop.

    Attributes:
        started: the warm-up is over.
        draining: no new requests should come; those that come are still answered.
        failure: why the warm-up broke off.
    """

    started: bool = False
    draining: bool = False
    failure: str | None = None

    @property
    def pending(self) -> list[str]:
        """Why the service has not started, nothing if it has."""
        if self.started:
            return []
        return [self.failure or "models are being compiled"]

    def drain(self) -> None:
        """Stop being ready."""
        self.draining = True
