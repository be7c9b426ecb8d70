"""Sums of weight rows, kept in registers while the rows stream through them."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numpy.typing import NDArray

from simulators.compiled_vectors import (
    VECTOR_BYTES,
    fetch_line,
    lanes_of,
    number_type,
    spread,
    written_out,
)

PREFETCHED = 4
"""Rows ahead for which memory is asked; a list of active neurons holds as many entries more."""

BLOCK = 64
"""Columns of small integers that lie together; see `interleaved`."""

BIAS_OF_BYTES = 128
"""What is added to an integer of −128 to 127, so that no byte has a sign."""

_I16, _I32, _I64 = (ir.IntType(bits) for bits in (16, 32, 64))


def interleaved(whole: NDArray[Any], bias: int = BIAS_OF_BYTES) -> NDArray[np.uint8]:
    """Return rows of integers, in whole blocks, as the sums read them.

    Byte 2k of a block is column k, byte 2k + 1 column 32 + k, both with the bias that makes them 0
    to 255. As words of 16 bits, rows add up without being widened: the sum of the words' upper
    bytes is that of the one half, and what the sum of the words holds besides is that of the other.
    """
    blocks = (whole.astype(np.int16) + bias).astype(np.uint8).reshape(-1, 2, BLOCK // 2)
    return np.ascontiguousarray(blocks.transpose(0, 2, 1)).reshape(whole.shape)


def make_row_sum(width: int, *, weighted: bool) -> Any:
    """Return an intrinsic that sums `width` columns of the rows of active neurons, in their order.

    Its arguments are

        out, at: a pointer and the offset that receive the sum;
        rows, first, stride: a pointer to the weights, the offset of the columns in the first row,
            and what lies between two rows;
        active, value, begin, count: the active neurons and their activity;
        scale: what an integer counts, a power of two, and bias: what its byte has besides;
        adds: whether to add the sum to what `out` holds;
        fan_out, fan_at: a pointer and the offset of how many synapses each presynaptic neuron has.

    It returns how many synapses the active neurons have.

    Rows are summed from zero. Without `weighted`, rows of integers are summed in int16, which the
    caller makes sure cannot overflow. With `weighted` every row is multiplied by its activity.
    Of integers, as `interleaved` lays them out, `width` takes whole blocks.
    """

    @written_out
    def row_sum(
        _typing: Any, out: Any, at: Any, rows: Any, first: Any, stride: Any,
        active: Any, value: Any, begin: Any, count: Any, scale: Any, bias: Any, adds: Any,
        fan_out: Any, fan_at: Any,
    ) -> Any:  # fmt: skip
        size = types.intp
        signature = types.int64(
            *(out, size, rows, size, size, active, value, size, size, out.dtype, size, size),
            *(fan_out, size),
        )

        def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            loop = _Loop(builder, out, rows, width, weighted, args[10])
            return loop.build(
                builder.gep(args[0], [args[1]]),
                builder.gep(args[2], [args[3]]),
                builder.gep(args[5], [args[7]]),
                builder.gep(args[6], [args[7]]),
                *(args[4], args[8], args[9], args[11]),
                builder.gep(args[12], [args[13]]),
            )

        return signature, build

    return row_sum


class _Loop:
    """Builds the loop over the active rows, with registers for every part of the sum."""

    def __init__(
        self, builder: Any, out: Any, rows: Any, width: int, weighted: bool, bias: Any
    ) -> None:
        self.builder = builder
        self.weighted = weighted
        self.bias = builder.trunc(bias, _I16)
        self.floats = isinstance(out.dtype, types.Float)
        self.plus = builder.fadd if self.floats else builder.add
        self.times = builder.fmul if self.floats else builder.mul
        self.integers = rows.dtype != out.dtype
        self.sums_integers = self.integers and not weighted
        self.lanes = BLOCK // 2 if self.integers else min(lanes_of(out.dtype), width)
        self.parts = width // self.lanes
        self.result = ir.VectorType(number_type(out.dtype), self.lanes)
        self.words = ir.VectorType(_I16, self.lanes)
        self.sum = self.words if self.sums_integers else self.result
        self.out_align = out.dtype.bitwidth // 8
        self.row_align = rows.dtype.bitwidth // 8

    def build(
        self, out: Any, rows: Any, active: Any, value: Any, stride: Any, count: Any, scale: Any,
        adds: Any, fan_out: Any,
    ) -> Any:  # fmt: skip
        """Write the loop and, behind it, the stores of the sums; return the number of synapses."""
        builder = self.builder
        before = builder.block
        body, end = builder.append_basic_block("row"), builder.append_basic_block("summed")
        builder.cbranch(builder.icmp_signed(">", count, _I64(0)), body, end)
        builder.position_at_end(body)
        step, synapses = builder.phi(_I64), builder.phi(_I64)
        sums = [builder.phi(self.sum) for _ in range(self.parts)]
        if not self.sums_integers:  # these rows are small, and read as far ahead without it
            self._prefetch(rows, active, step, stride)
        number = self._number(active, step)
        row = builder.gep(rows, [builder.mul(number, stride)])
        more = builder.add(synapses, builder.load(builder.gep(fan_out, [number])))
        parts = self._words(row) if self.integers else self._floats(row)
        added = self._added(sums, parts, self._factor(value, step), scale)
        following = builder.add(step, _I64(1))
        zero = ir.Constant(self.sum, None)
        for phi, start, again in zip(
            [step, synapses, *sums],
            [_I64(0), _I64(0), *[zero] * self.parts],
            [following, more, *added],
            strict=True,
        ):
            phi.add_incoming(start, before)
            phi.add_incoming(again, body)
        again = builder.cbranch(builder.icmp_signed("<", following, count), body, end)
        _keep_rolled(builder, again)
        builder.position_at_end(end)
        all_synapses = builder.phi(_I64)
        finals = [builder.phi(self.sum) for _ in range(self.parts)]
        for final, start, total in zip(
            [all_synapses, *finals], [_I64(0), *[zero] * self.parts], [more, *added], strict=True
        ):
            final.add_incoming(start, before)
            final.add_incoming(total, body)
        self._store(out, self._results(finals, count, scale), adds)
        return all_synapses

    def _number(self, active: Any, step: Any) -> Any:
        builder = self.builder
        return builder.sext(builder.load(builder.gep(active, [step])), _I64)

    def _prefetch(self, rows: Any, active: Any, step: Any, stride: Any) -> None:
        builder = self.builder
        number = self._number(active, builder.add(step, _I64(PREFETCHED)))
        row = builder.gep(rows, [builder.mul(number, stride)])
        for offset in range(0, self.parts * self.lanes, VECTOR_BYTES // self.row_align):
            fetch_line(builder, builder.gep(row, [_I64(offset)]))

    def _factor(self, value: Any, step: Any) -> Any:
        if not self.weighted:
            return None
        builder = self.builder
        return spread(builder, builder.load(builder.gep(value, [step])), self.result)

    def _floats(self, row: Any) -> list[Any]:
        """Return the parts of a row of floats."""
        return [self._loaded(row, n * self.lanes, self.result) for n in range(self.parts)]

    def _words(self, row: Any) -> list[Any]:
        """Return every block of a row of integers as its words, and these words' upper bytes."""
        parts = []
        for n in range(self.parts // 2):
            words = self._loaded(row, n * BLOCK, self.words)
            parts += [words, self.builder.lshr(words, ir.Constant(self.words, [8] * self.lanes))]
        return parts

    def _loaded(self, row: Any, offset: int, kind: Any) -> Any:
        pointer = self.builder.gep(row, [_I64(offset)])
        return self.builder.load(
            self.builder.bitcast(pointer, kind.as_pointer()), align=self.row_align
        )

    def _added(self, sums: list[Any], parts: list[Any], factor: Any, scale: Any) -> list[Any]:
        builder = self.builder
        if self.sums_integers:
            return [builder.add(total, part) for total, part in zip(sums, parts, strict=True)]
        if self.integers:
            parts = self._scaled(self._halves(parts, _I64(1)), scale)
        if factor is not None:
            parts = [self.times(part, factor) for part in parts]
        return [self.plus(total, part) for total, part in zip(sums, parts, strict=True)]

    def _halves(self, sums: list[Any], count: Any) -> list[Any]:
        """Return what the columns of so many rows add up to, from sums of words and of bytes."""
        builder = self.builder
        biases = builder.mul(builder.trunc(count, _I16), self.bias)
        bias = spread(builder, biases, self.words)
        halves = []
        for words, upper in zip(sums[::2], sums[1::2], strict=True):
            shifted = builder.shl(upper, ir.Constant(self.words, [8] * self.lanes))
            halves += [builder.sub(builder.sub(words, shifted), bias), builder.sub(upper, bias)]
        return halves

    def _scaled(self, whole: list[Any], scale: Any) -> list[Any]:
        """Return integers as numbers of the sum, times what one counts."""
        builder, wide = self.builder, ir.VectorType(_I32, self.lanes)
        factor = spread(builder, scale, self.result)
        numbers = [builder.sext(part, wide) for part in whole]
        if self.floats:
            numbers = [builder.sitofp(part, self.result) for part in numbers]
        return [self.times(part, factor) for part in numbers]

    def _results(self, finals: list[Any], count: Any, scale: Any) -> list[Any]:
        return self._scaled(self._halves(finals, count), scale) if self.sums_integers else finals

    def _store(self, out: Any, results: list[Any], adds: Any) -> None:
        """Write the sums, or add them to what is there."""
        builder = self.builder
        with builder.if_else(builder.icmp_signed("!=", adds, _I64(0))) as (add, replace):
            with add:
                for n, result in enumerate(results):
                    held = builder.load(self._place(out, n), align=self.out_align)
                    builder.store(
                        self.plus(held, result), self._place(out, n), align=self.out_align
                    )
            with replace:
                for n, result in enumerate(results):
                    builder.store(result, self._place(out, n), align=self.out_align)

    def _place(self, out: Any, n: int) -> Any:
        pointer = self.builder.gep(out, [_I64(n * self.lanes)])
        return self.builder.bitcast(pointer, self.result.as_pointer())


def _keep_rolled(builder: Any, branch: Any) -> None:
    """Have a loop not be unrolled: its remainder would be a second loop that nobody can foresee."""
    module = builder.module
    disable = module.add_metadata(["llvm.loop.unroll.disable"])
    loop = module.add_metadata([disable, f"loop {len(module.metadata)}"])
    # A loop's metadata begins with itself; nothing else is known as such.
    loop.operands = (loop, disable)
    branch.set_metadata("llvm.loop", loop)
