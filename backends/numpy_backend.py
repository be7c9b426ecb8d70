"""The reference engine as a backend: in this process, in NumPy."""

from backends.in_process import Engine, InProcessBackend
from simulators.plan import Plan
from simulators.reference import ReferenceEngine


class NumpyBackend(InProcessBackend):
    """Runs models in the reference engine."""

    def engine(self, plan: Plan) -> Engine:
        """Return the reference engine for a plan."""
        return ReferenceEngine(plan)
