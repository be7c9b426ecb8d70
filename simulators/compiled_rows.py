"""Sums of weight rows, kept in registers while the rows stream through them."""

from typing import Any

from llvmlite import ir
from numba.core import types

from simulators.compiled_vectors import (
    VECTOR_BYTES,
    fetch_line,
    float_type,
    lanes_of,
    spread,
    written_out,
)

PREFETCHED = 4
"""Rows ahead for which memory is asked; a list of active neurons holds as many entries more."""

NARROW_LANES = 32

_I16, _I32, _I64 = (ir.IntType(bits) for bits in (16, 32, 64))


def make_row_sum(width: int, *, weighted: bool) -> Any:
    """Return an intrinsic that sums `width` columns of the rows of active neurons, in their order.

    Its arguments are

        out, at: a pointer and the offset that receive the sum;
        rows, first, stride: a pointer to the weights, the offset of the columns in the first row,
            and what lies between two rows;
        active, value, begin, count: the active neurons and their activity;
        scale: what a weight of int8 counts, a power of two;
        adds: whether to add the sum to what `out` holds.

    Rows are summed from zero. Without `weighted`, rows of int8 are summed in int16, which the
    caller makes sure cannot overflow. With `weighted` every row is multiplied by its activity.
    """

    @written_out
    def row_sum(
        _typing: Any, out: Any, at: Any, rows: Any, first: Any, stride: Any,
        active: Any, value: Any, begin: Any, count: Any, scale: Any, adds: Any,
    ) -> Any:  # fmt: skip
        size = types.intp
        signature = types.void(
            *(out, size, rows, size, size, active, value, size, size, out.dtype, size)
        )

        def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            loop = _Loop(context, builder, out, rows, width, weighted)
            loop.build(
                builder.gep(args[0], [args[1]]),
                builder.gep(args[2], [args[3]]),
                builder.gep(args[5], [args[7]]),
                builder.gep(args[6], [args[7]]),
                *(args[4], args[8], args[9], args[10]),
            )
            return context.get_dummy_value()

        return signature, build

    return row_sum


class _Loop:
    """Builds the loop over the active rows, with one register for every part of the sum."""

    def __init__(
        self, context: Any, builder: Any, out: Any, rows: Any, width: int, weighted: bool
    ) -> None:
        self.builder = builder
        self.weighted = weighted
        self.integers = rows.dtype != out.dtype
        self.sums_integers = self.integers and not weighted
        lanes = NARROW_LANES if self.integers else lanes_of(out.dtype)
        self.lanes = min(lanes, width)
        self.parts = width // self.lanes
        self.result = ir.VectorType(float_type(out.dtype), self.lanes)
        self.row = ir.VectorType(context.get_value_type(rows.dtype), self.lanes)
        self.sum = ir.VectorType(_I16, self.lanes) if self.sums_integers else self.result
        self.out_align = out.dtype.bitwidth // 8
        self.row_align = rows.dtype.bitwidth // 8

    def build(
        self, out: Any, rows: Any, active: Any, value: Any, stride: Any, count: Any, scale: Any,
        adds: Any,
    ) -> None:  # fmt: skip
        """Write the loop and, behind it, the stores of the sums."""
        builder = self.builder
        before = builder.block
        body, end = builder.append_basic_block("row"), builder.append_basic_block("summed")
        builder.cbranch(builder.icmp_signed(">", count, _I64(0)), body, end)
        builder.position_at_end(body)
        step = builder.phi(_I64)
        sums = [builder.phi(self.sum) for _ in range(self.parts)]
        self._prefetch(rows, active, step, stride)
        row = self._row(rows, active, step, stride)
        factor = self._factor(value, step)
        added = [self._add(total, row, n, factor, scale) for n, total in enumerate(sums)]
        following = builder.add(step, _I64(1))
        zero = ir.Constant(self.sum, None)
        for phi, start, again in zip(
            [step, *sums], [_I64(0), *[zero] * self.parts], [following, *added], strict=True
        ):
            phi.add_incoming(start, before)
            phi.add_incoming(again, body)
        builder.cbranch(builder.icmp_signed("<", following, count), body, end)
        builder.position_at_end(end)
        finals = [builder.phi(self.sum) for _ in range(self.parts)]
        for final, total in zip(finals, added, strict=True):
            final.add_incoming(zero, before)
            final.add_incoming(total, body)
        results = [self._result(final, scale) for final in finals]
        with builder.if_else(builder.icmp_signed("!=", adds, _I64(0))) as (add, replace):
            with add:
                for n, result in enumerate(results):
                    held = builder.load(self._place(out, n), align=self.out_align)
                    builder.store(
                        builder.fadd(held, result), self._place(out, n), align=self.out_align
                    )
            with replace:
                for n, result in enumerate(results):
                    builder.store(result, self._place(out, n), align=self.out_align)

    def _row(self, rows: Any, active: Any, step: Any, stride: Any) -> Any:
        builder = self.builder
        number = builder.sext(builder.load(builder.gep(active, [step])), _I64)
        return builder.gep(rows, [builder.mul(number, stride)])

    def _prefetch(self, rows: Any, active: Any, step: Any, stride: Any) -> None:
        builder = self.builder
        row = self._row(rows, active, builder.add(step, _I64(PREFETCHED)), stride)
        for offset in range(0, self.parts * self.lanes, VECTOR_BYTES // self.row_align):
            fetch_line(builder, builder.gep(row, [_I64(offset)]))

    def _factor(self, value: Any, step: Any) -> Any:
        if not self.weighted:
            return None
        builder = self.builder
        return spread(builder, builder.load(builder.gep(value, [step])), self.result)

    def _add(self, total: Any, row: Any, n: int, factor: Any, scale: Any) -> Any:
        builder = self.builder
        pointer = builder.gep(row, [_I64(n * self.lanes)])
        pointer = builder.bitcast(pointer, self.row.as_pointer())
        part = builder.load(pointer, align=self.row_align)
        if self.sums_integers:
            return builder.add(total, builder.sext(part, self.sum))
        if self.integers:
            part = builder.fmul(builder.sitofp(part, self.result), self._scale(scale))
        return builder.fadd(total, part if factor is None else builder.fmul(part, factor))

    def _scale(self, scale: Any) -> Any:
        return spread(self.builder, scale, self.result)

    def _result(self, final: Any, scale: Any) -> Any:
        if not self.sums_integers:
            return final
        wide = self.builder.sext(final, ir.VectorType(_I32, self.lanes))
        return self.builder.fmul(self.builder.sitofp(wide, self.result), self._scale(scale))

    def _place(self, out: Any, n: int) -> Any:
        pointer = self.builder.gep(out, [_I64(n * self.lanes)])
        return self.builder.bitcast(pointer, self.result.as_pointer())
