"""Models on the embedded processor."""


class CLoihiProcessModel:
    """A process in C."""
