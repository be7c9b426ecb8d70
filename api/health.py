"""Whether the service has started, is ready for requests, or drains."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Health:
    """State behind the probes; written by the warm-up and by the server that is told to stop.

    Attributes:
        started: the warm-up is over.
        draining: no new requests should come; those that come are still answered.
        problems: model → why it could not be made ready on the default target.
    """

    started: bool = False
    draining: bool = False
    problems: dict[str, str] = field(default_factory=dict)

    def drain(self) -> None:
        """Stop being ready."""
        self.draining = True
