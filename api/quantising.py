"""Quantising on the way to a run, and the loss report as tables for a terminal."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter
from threading import Lock

from rich.markup import escape
from rich.table import Table

from api.calibrating import calibration_of
from backends.base import Target
from backends.contracts import contract_on, in_integers
from backends.quantisation import is_quantised, quantise_model
from backends.quantisation_file import QuantisationFile, quantisation_of
from fusion.contract import ExecutionContract
from fusion.model import FusionModel
from fusion.samples import list_samples
from fusion.shelf import ShelvedModel
from simulators.calibration import Rasters
from simulators.quantise_report import Loss


@dataclass(frozen=True, slots=True)
class Runnable:
    """A model that its targets can run, and what its integers lost, if any are used."""

    model: FusionModel
    quantisation: QuantisationFile | None


def runnable(
    model: FusionModel,
    own: ExecutionContract,
    targets: Iterable[Target],
    samples: Callable[[ExecutionContract], Sequence[Rasters]],
) -> Runnable:
    """Return the model, quantised where a target needs integers that it does not have.

    Args:
        model: the model.
        own: its own contract.
        targets: where it is to run.
        samples: gives what to calibrate on, for the contract on the target that needs integers.

    Raises:
        ModelRejected: listing everything that a target cannot do.
    """
    chips = [target for target in targets if in_integers(target)]
    if not chips:
        return Runnable(model, None)
    if is_quantised(model):
        return Runnable(model, quantisation_of(model))
    target = chips[0]
    made = quantise_model(model, own, target, samples(contract_on(target, own)))
    return Runnable(made.model, made.file)


class Quantiser:
    """Quantises models for requests, and keeps those that were calibrated on shipped samples.

    Args:
        size: number of models kept.
    """

    def __init__(self, size: int = 4) -> None:
        self._size = size
        self._lock = Lock()
        self._made: OrderedDict[tuple[str, ExecutionContract], Runnable] = OrderedDict()

    def ready(
        self,
        shelved: ShelvedModel,
        own: ExecutionContract,
        targets: Sequence[Target],
        own_input: Callable[[ExecutionContract], Rasters],
    ) -> Runnable:
        """Return a model that its targets can run, quantised if need be.

        Args:
            shelved: the model.
            own: the contract asked for.
            targets: where it is to run.
            own_input: gives the request's own input, to calibrate on if no samples ship.

        Raises:
            ModelRejected: listing everything that a target cannot do.
        """
        samples = partial(calibration_of, shelved, own_input)
        if not list_samples(shelved.path) or not any(map(in_integers, targets)):
            return runnable(shelved.model, own, targets, samples)
        key = shelved.model.digest, own
        with self._lock:  # one request does the work that others would repeat
            if key not in self._made:
                self._made[key] = runnable(shelved.model, own, targets, samples)
            self._made.move_to_end(key)
            if len(self._made) > self._size:
                self._made.popitem(last=False)
            return self._made[key]


def loss_tables(file: QuantisationFile) -> Iterator[Table | str]:
    """Give the loss report for a terminal."""
    yield _populations(file)
    yield _connections(file)
    loss = file.loss
    told = f"spikes as in floats: {loss.predicted:.1%} on {file.calibration} calibration samples"
    if loss.measured is not None:
        told += f", {loss.measured:.1%} on {file.held_out} others"
    yield told
    yield from map(escape, loss.notes)


def _populations(file: QuantisationFile) -> Table:
    table = Table(
        "population", "neurons", "kinds", "threshold", "1/tau_syn", "1/tau_mem", "headroom",
        "agreement", title="what the populations lost",
    )  # fmt: skip
    for one in file.loss.populations:
        low, high = one.v_threshold or (0, 0)
        shares = [f"{share:.1%}" for share in (one.predicted, one.measured) if share is not None]
        table.add_row(
            escape(one.node),
            str(one.neurons),
            str(one.kinds),
            "" if one.v_threshold is None else str(low) if low == high else f"{low}-{high}",
            _largest([one.tau_syn]),
            _largest([one.tau_mem]),
            f"{min(one.headroom.arriving, one.headroom.u, one.headroom.v):.3g}×",
            " / ".join(shares),
        )
    table.caption = (
        "Largest relative errors. Headroom: how many times further than on calibration samples the "
        "registers reach. Agreement with the spikes of floats: predicted / measured."
    )
    return table


def _connections(file: QuantisationFile) -> Table:
    table = Table(
        "synapses", "steps", "number", "largest", "rms", "saturated", "became 0",
        title="what the weights lost",
    )  # fmt: skip
    ends = attrgetter("source", "target")
    for (source, target), parts in groupby(sorted(file.loss.connections, key=ends), key=ends):
        taps = list(parts)
        losses = [one.weights for one in taps]
        table.add_row(
            escape(f"{source} → {target}"),
            " ".join(str(one.steps) for one in taps),
            str(sum(one.synapses for one in taps)),
            _largest(losses),
            f"{max(one.rms for one in losses):.2%}",
            str(sum(one.saturated for one in taps)),
            str(sum(one.vanished for one in taps)),
        )
    table.caption = "Errors relative to the largest weight, and to the weights' rms."
    return table


def _largest(losses: Sequence[Loss | None]) -> str:
    known = [one.largest for one in losses if one is not None]
    return f"{max(known):.2%}" if known else ""
