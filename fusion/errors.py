"""Errors of the domain.

FusionError
├── InvalidInput     what the caller sent (events, samples, rasters, choices)
├── InvalidModel     a model: its graph, its manifest or its container
├── InvalidContract  an execution contract that misses a choice or holds an impossible one
├── NotLoaded        a model that was taken off the shelf
├── Conflict         a change that contradicts what is stored
└── StoreFailed      stored models cannot be read or written now
    ├── StoreFull    there is no room for what is to be stored
    └── Damaged      what is stored is not what was stored

Each names the place (`field`), says what is wrong there, and where one is known, the nearest thing
that would work. The domain knows no HTTP: `api` maps exceptions to statuses in one table.
"""

from collections.abc import Iterable


class FusionError(ValueError):
    """Base of the domain's errors.

    Args:
        field: dotted path of what is wrong, such as `sensors.audio.samples.values[3]`.
        problem: what is wrong there, with the offending and the allowed value.
        nearest: what would work instead, if it is known.
    """

    def __init__(self, field: str, problem: str, nearest: str | None = None) -> None:
        self.field = printable(field)
        self.problem = printable(problem)
        self.nearest = None if nearest is None else printable(nearest)
        hint = f" (try: {self.nearest})" if nearest else ""
        super().__init__(f"{self.field}: {self.problem}{hint}")


class InvalidInput(FusionError):
    """What the caller sent cannot be used as it is."""


class InvalidModel(FusionError):
    """A model cannot be used as it is; `field` names the node or manifest entry."""


class InvalidContract(FusionError):
    """An execution contract misses a choice or holds one that cannot be."""


class NotLoaded(FusionError):
    """The model was unloaded, and has to be loaded before it can be used."""


class Conflict(FusionError):
    """A change contradicts what is stored: a version that exists with other content, for one."""


class StoreFailed(FusionError):
    """Stored models cannot be read or written now."""


class StoreFull(StoreFailed):
    """There is no room for what is to be stored."""


class Damaged(StoreFailed):
    """What is stored is not what was stored, so it is not used."""


def in_words(error: BaseException) -> str:
    """Return what an exception says, on one printable line of bounded length."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KeyError):
        text = f"there is no {text}"
    return printable(text)[:300]


def listed(names: Iterable[str], most: int = 20) -> str:
    """Return names as an error lists them, not all where there are many."""
    known = list(names)
    left = len(known) - most
    return ", ".join(known[:most]) + (f" and {left} more" if left > 0 else "")


def printable(text: str) -> str:
    """Return a text with whatever cannot be printed, names from files for one, as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
