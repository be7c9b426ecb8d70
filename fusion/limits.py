"""How large a model may be, before anything of it is unpacked."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """Bounds of one model file. The larger they are, the more one file can cost.

    Attributes:
        file_bytes: size of a `.nir` file or a zip, and of a `.nir` file out of a zip.
        content_bytes: numbers and texts in a `.nir` file after unpacking; a number counts 8 bytes,
            whatever its type, because that is what it takes when it is run.
        manifest_bytes: size of a `fusion.yaml`.
        objects: HDF5 groups and datasets in a `.nir` file (nodes and parameters are such), and
            texts in one dataset.
        nodes: nodes of a graph, those of subgraphs included.
        edges: edges of a graph, those of subgraphs included.
        depth: HDF5 groups in one another; a subgraph takes two.
        name_bytes: length of a name.
        members: files in a zip.
        cpu_s: seconds of computing that reading a file may take.
        wall_s: seconds that it may take by the clock.
    """

    file_bytes: int = 256 * 2**20
    content_bytes: int = 256 * 2**20
    manifest_bytes: int = 256 * 2**10
    objects: int = 50_000
    nodes: int = 2_000
    edges: int = 10_000
    depth: int = 32
    name_bytes: int = 255
    members: int = 10_000
    cpu_s: int = 10
    wall_s: float = 30.0

    def memory_bytes(self, size: int) -> int:
        """Return the address space in which a file of `size` bytes is read.

        That is the interpreter with its libraries, the file twice, and twice what it unpacks to.
        """
        return 384 * 2**20 + 2 * (size + self.content_bytes)


DEFAULT_LIMITS = ModelLimits()
