"""Vectors of 64 bytes as values in Numba code: what a compiler does not find by itself.

Written as loops, the updates of neurons and the sums of weight rows reach a third of what the
machine can do: the compiler has to assume that arrays overlap, and keeps sums in memory. Here a
`Vector` holds 16 float32 or int32, or 8 float64, in a register. LLVM splits it where registers are
narrower. No operation carries fast-math flags, so each lane rounds as NumPy does; integers wrap.

Offsets and counts are elements; nothing is checked against the bounds of an array. Arrays become
pointers where a kernel begins.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

VECTOR_BYTES = 64

_I1, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (1, 16, 32, 64))


def written_out(function: Callable[..., Any]) -> Any:
    """Return what `function` types and builds as a function of compiled code."""
    return intrinsic(function)


class Vector(types.Type):
    """Numba type of a vector of numbers; `Mask` is what comparing two of them gives."""

    def __init__(self, dtype: types.Number) -> None:
        self.dtype = dtype
        self.lanes = lanes_of(dtype)
        super().__init__(name=f"Vector({dtype})")


class Mask(types.Type):
    """Numba type of one bit a lane."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"Mask({lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, ir.VectorType(number_type(kind.dtype), kind.lanes))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Mask) -> None:
        super().__init__(manager, kind, ir.VectorType(_I1, kind.lanes))


def lanes_of(dtype: Any) -> int:
    """Return how many numbers of a type a vector holds."""
    return int(VECTOR_BYTES * 8 // dtype.bitwidth)


def number_type(dtype: Any) -> ir.Type:
    """Return LLVM's type of a float or of an integer."""
    if isinstance(dtype, types.Float):
        return ir.FloatType() if dtype == types.float32 else ir.DoubleType()
    return ir.IntType(dtype.bitwidth)


def _vector_pointer(builder: Any, place: Sequence[Any], kind: ir.Type) -> Any:
    pointer, offset = place
    return builder.bitcast(builder.gep(pointer, [offset]), kind.as_pointer())


def _align(pointer: types.CPointer) -> int:
    return int(pointer.dtype.bitwidth // 8)


@written_out
def pointer_to(_typing: Any, array: Any) -> Any:
    """Return a pointer to an array's first element, which indexes like the array.

    Passing pointers on costs nothing. Passing arrays counts references, atomically, which took
    three quarters of a run.
    """

    def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return context.make_array(array)(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), build


@written_out
def behind(_typing: Any, pointer: Any, offset: Any) -> Any:
    """Return the pointer to the element at an offset."""

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, types.intp), build


@written_out
def lanes(_typing: Any, pointer: Any) -> Any:
    """Return how many elements a vector holds, a constant of the compiled code."""

    def build(_context: Any, _builder: Any, _signature: Any, _args: Any) -> Any:
        return _I64(lanes_of(pointer.dtype))

    return types.intp(pointer), build


@written_out
def load(_typing: Any, pointer: Any, offset: Any) -> Any:
    """Return the vector at an offset."""
    kind = Vector(pointer.dtype)

    def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        place = _vector_pointer(builder, args, context.get_value_type(kind))
        return builder.load(place, align=_align(pointer))

    return kind(pointer, types.intp), build


@written_out
def store(_typing: Any, pointer: Any, offset: Any, vector: Any) -> Any:
    """Write a vector to an offset."""

    def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        place = _vector_pointer(builder, args[:2], args[2].type)
        builder.store(args[2], place, align=_align(pointer))
        return context.get_dummy_value()

    return types.void(pointer, types.intp, vector), build


@written_out
def prefetch(_typing: Any, pointer: Any, offset: Any) -> Any:
    """Ask for the cache line of the element at an offset, which need not exist."""

    def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        fetch_line(builder, builder.gep(args[0], [args[1]]))
        return context.get_dummy_value()

    return types.void(pointer, types.intp), build


def fetch_line(builder: Any, place: Any) -> None:
    """Ask for the cache line of a place, to be read more than once."""
    kind = ir.FunctionType(ir.VoidType(), [place.type, _I32, _I32, _I32])
    fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(fetch, [place, _I32(0), _I32(3), _I32(1)])


@written_out
def splat(_typing: Any, pointer: Any, value: Any) -> Any:
    """Return the vector of the pointer's type that holds a value in every lane."""
    kind = Vector(pointer.dtype)

    def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        number = context.cast(builder, args[1], value, pointer.dtype)
        return spread(builder, number, context.get_value_type(kind))

    return kind(pointer, value), build


def spread(builder: Any, value: Any, vector: ir.VectorType) -> Any:
    """Return the vector that holds a value in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, _I32(0))
    everywhere = ir.Constant(ir.VectorType(_I32, vector.count), None)
    return builder.shuffle_vector(first, undefined, everywhere)


def _typed(operation: Callable[..., Any], dtypes: type, result: Callable[[Vector], Any]) -> None:
    """Let an operation take two vectors of the same numbers, of these types."""

    @type_callable(operation)
    def _type(_context: Any) -> Any:
        def of_two(one: Any, other: Any) -> Any:
            equal = isinstance(one, Vector) and one == other
            return result(one) if equal and isinstance(one.dtype, dtypes) else None

        return of_two


def _arithmetic(operation: Callable[..., Any], dtypes: type, instruction: str) -> None:
    _typed(operation, dtypes, lambda one: one)

    @lower_builtin(operation, Vector, Vector)
    def _lower(_context: Any, builder: Any, signature: Any, args: Any) -> Any:
        floats = isinstance(signature.return_type.dtype, types.Float)
        return getattr(builder, f"f{instruction}" if floats else instruction)(*args)


for _operation, _dtypes, _instruction in (
    (operator.add, types.Number, "add"),
    (operator.sub, types.Number, "sub"),
    (operator.mul, types.Number, "mul"),
    (operator.truediv, types.Float, "div"),
    (operator.and_, types.Integer, "and_"),
    (operator.lshift, types.Integer, "shl"),
    (operator.rshift, types.Integer, "ashr"),
):
    _arithmetic(_operation, _dtypes, _instruction)


def _comparison(operation: Callable[..., Any], sign: str) -> None:
    _typed(operation, types.Number, lambda one: Mask(one.lanes))

    @lower_builtin(operation, Vector, Vector)
    def _lower(_context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if isinstance(signature.args[0].dtype, types.Integer):
            return builder.icmp_signed(sign, *args)
        compare = builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered
        return compare(sign, *args)


for _operation, _sign in (
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.ne, "!="),
):
    _comparison(_operation, _sign)


@type_callable(operator.or_)
def _type_either(_context: Any) -> Any:
    return lambda one, other: one if isinstance(one, Mask) and one == other else None


@lower_builtin(operator.or_, Mask, Mask)
def _lower_either(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
    return builder.or_(*args)


@written_out
def select(_typing: Any, mask: Any, one: Any, other: Any) -> Any:
    """Return `one` in the lanes of the mask, `other` elsewhere."""

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return one(mask, one, other), build


def _unary(name: str, text: str) -> Any:
    def typed(_typing: Any, vector: Any) -> Any:
        def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            kind = context.get_value_type(vector)
            suffix = f"v{vector.lanes}f{vector.dtype.bitwidth}"
            called = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(kind, [kind]), f"llvm.{name}.{suffix}"
            )
            return builder.call(called, args)

        return vector(vector), build

    typed.__name__, typed.__doc__ = name, text
    return written_out(typed)


floor = _unary("floor", "Return every lane rounded down.")
absolute = _unary("fabs", "Return every lane without its sign.")


@written_out
def bits(_typing: Any, mask: Any) -> Any:
    """Return a mask as a uint64, the first lane in the lowest bit."""

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.zext(builder.bitcast(args[0], ir.IntType(mask.lanes)), _I64)

    return types.uint64(mask), build


def _word_unlike(number: int, text: str) -> Any:
    def typed(_typing: Any, pointer: Any, offset: Any) -> Any:
        floats = isinstance(pointer.dtype, types.Float)

        def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            kind = ir.VectorType(context.get_value_type(pointer.dtype), 64)
            elements = builder.load(_vector_pointer(builder, args, kind), align=_align(pointer))
            compare = builder.fcmp_unordered if floats else builder.icmp_unsigned
            return builder.bitcast(compare("!=", elements, ir.Constant(kind, [number] * 64)), _I64)

        return types.uint64(pointer, types.intp), build

    typed.__doc__ = text
    return written_out(typed)


nonzero_word = _word_unlike(0, "Return which of 64 elements are not 0, as a uint64; NaN is not.")
unlike_one_word = _word_unlike(1, "Return which of 64 elements are not 1, likewise.")


def _count(name: str, text: str) -> Any:
    def typed(_typing: Any, word: Any) -> Any:
        def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.cttz(args[0], _I1(0)) if name == "cttz" else builder.ctpop(args[0])

        return types.intp(types.uint64), build

    typed.__name__, typed.__doc__ = name, text
    return written_out(typed)


lowest_bit = _count("cttz", "Return the position of a uint64's lowest set bit.")
count_bits = _count("ctpop", "Return the number of set bits of a uint64.")
