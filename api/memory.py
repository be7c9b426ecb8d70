"""Memory of the service's own control group, as the kernel that may kill it counts."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

UNLIMITED = 2**60
"""Version 1 tells the absence of a limit as a number of about 2**63."""


@dataclass(frozen=True, slots=True)
class GroupMemory:
    """Memory of a control group, in bytes.

    Attributes:
        usage: what is in use, less the pages of files that can be dropped at any time.
        limit: what may be, the least of the group's and its visible parents'; None if nothing
            bounds it.
    """

    usage: int
    limit: int | None


def group_memory(root: Path = Path("/")) -> GroupMemory | None:
    """Return the memory of this process's group, None where that cannot be read.

    The controller may be in version 1 of control groups, in version 2, or, where both are mounted,
    in either.

    Args:
        root: where `proc` and the mounted groups lie.
    """
    try:
        for mount in _mounts(root):
            found = mount.read()
            if found is not None:
                return found
    except (OSError, ValueError):
        return None
    return None


class MemoryCollector(Collector):
    """Collects the memory of the service's control group at every scrape."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield usage and limit, as far as they are known."""
        found = group_memory()
        usage = GaugeMetricFamily(
            "snn_fusion_memory_usage_bytes",
            "Memory in use in the service's control group, less what the kernel can drop at once",
        )
        limit = GaugeMetricFamily(
            "snn_fusion_memory_limit_bytes", "Memory that the service's control group may use"
        )
        if found is not None:
            usage.add_metric([], found.usage)
            if found.limit is not None:
                limit.add_metric([], found.limit)
        yield usage
        yield limit


@dataclass(frozen=True, slots=True)
class _Mount:
    """The process's group in one mounted hierarchy: its folder, and where the hierarchy starts."""

    folder: Path
    top: Path
    version: int

    def read(self) -> GroupMemory | None:
        """Return what it says, None if this hierarchy does not have the memory controller."""
        names = ("memory.current", "inactive_file", "memory.max")
        if self.version == 1:
            names = ("memory.usage_in_bytes", "total_inactive_file", "memory.limit_in_bytes")
        current, inactive, maximum = names
        if not (self.folder / current).is_file():
            return None
        used = int((self.folder / current).read_text())
        idle = _statistic(self.folder / "memory.stat", inactive)
        limits = [_limit(folder / maximum) for folder in self._up()]
        least = min((one for one in limits if one is not None), default=None)
        return GroupMemory(max(0, used - idle), least)

    def _up(self) -> Iterable[Path]:
        above = [one for one in self.folder.parents if one.is_relative_to(self.top)]
        return [self.folder, *above]


def _mounts(root: Path) -> Iterator[_Mount]:
    """Yield the hierarchies that may have the memory controller, version 1 first."""
    paths = {}
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        paths[controllers] = path
    lines = (root / "proc/self/mountinfo").read_text().splitlines()
    for version in (1, 2):
        for line in lines:
            before, _, after = line.partition(" - ")
            kind, _, options = after.split(" ", 2)
            has_memory = version == 2 or "memory" in re.split("[ ,]", options)
            if kind != ("cgroup", "cgroup2")[version - 1] or not has_memory:
                continue
            own = next((path for names, path in paths.items() if _is(names, version)), None)
            mounted, at = before.split(" ")[3:5]
            if own is not None:
                yield _Mount(*_places(root, at, mounted, own), version)


def _is(controllers: str, version: int) -> bool:
    return controllers == "" if version == 2 else "memory" in controllers.split(",")


def _places(root: Path, at: str, mounted: str, own: str) -> tuple[Path, Path]:
    """Return the folder of the process's group, and that at which its hierarchy is mounted.

    In a container a part of the hierarchy may be mounted, while the process's path is still that
    in the whole one.
    """
    top = root / at.lstrip("/")
    path = Path(own)
    inside = path.relative_to(mounted) if path.is_relative_to(mounted) else path.relative_to("/")
    folder = top / inside
    return (folder if folder.is_dir() else top), top


def _limit(path: Path) -> int | None:
    text = path.read_text().strip() if path.is_file() else "max"
    return None if text == "max" or int(text) >= UNLIMITED else int(text)


def _statistic(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
