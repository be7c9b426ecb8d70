"""The child's side of reading a model file: `python -m fusion.reader_child KIND LIMITS`.

It takes the file on its standard input and writes the parts of `fusion.containers` to its standard
output, each as 4 bytes, its length, most significant first, and MessagePack. Before it looks at
the first byte it gives up whatever a file could misuse: it cannot open anything, cannot write
a file, start a process or dump its memory, and has a bounded memory and computing time.
"""

import os
import resource
import struct
import sys

import msgspec

from fusion.containers import parts
from fusion.limits import ModelLimits


def main() -> None:
    """Read one file."""
    kind, limits = sys.argv[1], msgspec.json.decode(sys.argv[2], type=ModelLimits)
    data = sys.stdin.buffer.read()
    confine(limits, len(data))
    for part in parts(kind, data, limits):
        encoded = msgspec.msgpack.encode(part)
        sys.stdout.buffer.write(struct.pack(">I", len(encoded)) + encoded)
        # At once, so that the reader knows what was read when this process is killed.
        sys.stdout.buffer.flush()
    os._exit(0)  # a library that was led astray need not tidy up


def confine(limits: ModelLimits, size: int) -> None:
    """Limit this process for good to what reading a file of `size` bytes takes."""
    used_s = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = int(used_s.ru_utime + used_s.ru_stime) + 1 + limits.cpu_s
    memory = limits.memory_bytes(size)
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 3),  # standard input, output and error are open already
    ):
        _lower(what, most, most)
    _lower(resource.RLIMIT_CPU, cpu_s, cpu_s + 1)  # a signal of its own before the kill


def _lower(what: int, soft: int, hard: int) -> None:
    allowed = resource.getrlimit(what)[1]
    if allowed != resource.RLIM_INFINITY:
        soft, hard = min(soft, allowed), min(hard, allowed)
    resource.setrlimit(what, (soft, hard))


if __name__ == "__main__":
    main()
