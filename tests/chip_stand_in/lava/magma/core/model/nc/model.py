"""Models on the neuromorphic cores."""


class AbstractNcProcessModel:
    """A process on neuromorphic cores."""
