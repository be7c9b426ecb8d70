"""The commands that run models here: `snn-fusion run | check | compare | quantise | models` etc."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from api.comparison.report import comparison_page, comparison_reply, pair_lines
from api.contract_options import contract_options
from api.first_run import first_run
from api.fitting import check_reply, fit_table, fit_targets
from api.fuzz_loihi import fuzz_loihi
from api.keys_command import app as keys_app
from api.models_command import models as models_app
from api.named_inputs import find_model, read_inputs
from api.offline import OfflineRun, compare_offline, run_offline, summary
from api.plain_errors import plain_errors
from api.quantise_command import quantise as quantise_command
from api.quantising import loss_tables
from api.render import model_name
from api.settings import effective, load_settings
from api.targets import availability, make_registry
from api.warm_command import warm
from backends.compare import TOLERANCE

Inputs = Annotated[
    list[str],
    typer.Option(
        "--input",
        help="SENSOR=FILE, SENSOR=sample:NAME, NODE=raster.npy or raster.npy; repeatable",
    ),
]

Quantise = Annotated[
    bool, typer.Option("--quantise", help="make the integers that a target needs, if they lack")
]

app = typer.Typer()


@app.command()
@contract_options
def run(
    *,
    model: Annotated[str, typer.Argument(help="model folder, zip, name, or bare .nir file")],
    inputs: Inputs = [],  # noqa: B006 (typer copies it)
    target: Annotated[str | None, typer.Option(help="where to run")] = None,
    profile: Annotated[str | None, typer.Option(help="contract profile")] = None,
    dt: Annotated[float | None, typer.Option(help="seconds per step, dt_s")] = None,
    record: Annotated[list[str], typer.Option(help="node to record, or all; repeatable")] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="write records to this .npz")] = None,
    quantise: Quantise = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    overrides: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Run a model once, offline.

    Every field of the contract is an option too, such as --reset subtract_threshold.
    With --out and no --record, every population is recorded.
    """
    with plain_errors():
        settings = load_settings()
        shelved = find_model(model, settings)
        contract = shelved.model.contract(profile, dt, overrides)
        given = read_inputs(inputs, shelved)
        wanted = record or (["all"] if out else [])
        registry = make_registry(settings)
        where = target or settings.target
        with Console(stderr=True).status(f"running on {where}; its first run may compile it"):
            done = run_offline(
                shelved, given, contract, where, registry, record=wanted, quantise=quantise
            )
        if out is not None:
            _write(out, done)
        _print(done, as_json)


def _write(path: Path, done: OfflineRun) -> None:
    if path.suffix != ".npz":
        raise typer.BadParameter("must end in .npz", param_hint="--out")
    arrays: dict[str, Any] = done.arrays()
    np.savez_compressed(path, **arrays)


def _print(done: OfflineRun, as_json: bool) -> None:
    reply = summary(done)
    if as_json:
        _print_json(reply)
        return
    console = Console()
    if done.answer is not None:
        console.print(_answer_table(done))
    for part in () if done.quantisation is None else loss_tables(done.quantisation):
        console.print(part)
    counts = reply["counts"]
    console.print(
        f"{escape(done.model.name)} on {done.target}: "
        f"{reply['steps']} steps of {done.contract.dt_s} s, "
        f"{counts['synaptic_events']} synaptic events, {reply['timing']['run_s'] * 1e3:.1f} ms"
    )
    for node, spikes in counts["spikes"].items():
        console.print(f"  {escape(node)}: {spikes} spikes")
    for register, times in counts["overflows"].items():
        console.print(f"  {escape(register)}: integers left their range {times} times")
    if reply["energy"] is not None:
        energy = reply["energy"]
        console.print(f"  {energy['joules']:.3g} J, {energy['kind']} by {energy['model']}")


def _answer_table(done: OfflineRun) -> Table:
    assert done.answer is not None
    assert done.model.manifest is not None
    (window,) = done.answer.windows
    decision = window.decision
    sensors = map(escape, decision.by_sensor)
    table = Table("label", *sensors, "fused", title=f"answer: {escape(window.label)}")
    for index, label in enumerate(done.model.manifest.labels):
        beliefs = [f"{p[index]:.3f}" for p in decision.by_sensor.values()]
        style = "bold" if index == decision.best else None
        table.add_row(escape(label), *beliefs, f"{decision.posterior[index]:.3f}", style=style)
    table.caption = (
        f"confidence {decision.confidence:.3f}, quality {window.quality.score:.3f} (certainty "
        f"{window.quality.certainty:.2f}, conflict {window.quality.conflict:.2f}, coverage "
        f"{window.quality.coverage:.2f})"
    )
    return table


@app.command()
@contract_options
def check(
    *,
    model: Annotated[str, typer.Argument(help="model folder, zip, name, or bare .nir file")],
    targets: Annotated[str | None, typer.Option(help="comma-separated; default all")] = None,
    profile: Annotated[str | None, typer.Option(help="contract profile")] = None,
    dt: Annotated[float | None, typer.Option(help="seconds per step, dt_s")] = None,
    duration: Annotated[
        float | None, typer.Option(help="seconds to estimate a run for; default the window, or 1")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    overrides: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Say whether a model fits targets, and everything that stands in the way; run nothing.

    Exits with 1 if a target cannot run the model.
    """
    with plain_errors():
        settings = load_settings()
        found = find_model(model, settings).model
        contract = found.contract(profile, dt, overrides)
        registry = make_registry(settings)
        names = _names(targets) or sorted(registry.targets)
        fits = fit_targets(registry, names, found, contract, duration)
    if as_json:
        _print_json(check_reply(found, contract, fits))
    else:
        Console().print(fit_table(fits))
    raise typer.Exit(0 if all(fit.fits for fit in fits) else 1)


@app.command()
@contract_options
def compare(
    *,
    model: Annotated[str, typer.Argument(help="model folder, zip, name, or bare .nir file")],
    targets: Annotated[str, typer.Option(help="two or more, comma-separated")],
    inputs: Inputs = [],  # noqa: B006 (typer copies it)
    profile: Annotated[str | None, typer.Option(help="contract profile")] = None,
    dt: Annotated[float | None, typer.Option(help="seconds per step, dt_s")] = None,
    tolerance: Annotated[float, typer.Option(help="differing share called equivalent")] = TOLERANCE,
    out: Annotated[Path | None, typer.Option(help="write a page of HTML")] = None,
    quantise: Quantise = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    overrides: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Run a model on several targets and say where they differ first, and by how much.

    Exits with 1 if a pair of targets is different beyond the tolerance.
    """
    with plain_errors():
        settings = load_settings()
        shelved = find_model(model, settings)
        contract = shelved.model.contract(profile, dt, overrides)
        given = read_inputs(inputs, shelved)
        with Console(stderr=True).status("comparing") as progress:
            done = compare_offline(
                shelved, given, contract, _names(targets), make_registry(settings),
                tolerance=tolerance, tell=progress.update, quantise=quantise,
            )  # fmt: skip
        if out is not None:
            out.write_text(comparison_page(done))
    if as_json:
        _print_json(comparison_reply(model_name(done.model), done.runs, done.pairs))
    else:
        for pair in done.pairs:
            Console().print(*pair_lines(pair), sep="\n")
    raise typer.Exit(1 if any(pair.verdict == "different" for pair in done.pairs) else 0)


def _names(listed: str | None) -> list[str]:
    return [name.strip() for name in (listed or "").split(",") if name.strip()]


def _print_json(value: Any) -> None:
    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")


@app.command()
def targets(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """List the targets, and whether they can be used here."""
    with plain_errors():
        registry = make_registry(load_settings())
        rows: dict[str, dict[str, Any]] = {
            name: {"description": target.description, **availability(registry, name)}
            for name, target in sorted(registry.targets.items())
        }
    if as_json:
        _print_json({"targets": rows})
        return
    table = Table("target", "usable", "what it is")
    for name, row in rows.items():
        hint = f" ({row['hint']})" if row["hint"] else ""
        why = "yes" if row["available"] else f"no: {row['reason']}{hint}"
        table.add_row(name, why, row["description"])
    Console().print(table)


@app.command()
def settings() -> None:
    """Print every setting as it is in effect, secrets masked."""
    with plain_errors():
        for name, value in effective(load_settings()).items():
            typer.echo(f"{name}={value}")


app.add_typer(keys_app, name="keys")
app.add_typer(models_app, name="models")
app.command("quantise")(quantise_command)
app.command("fuzz-loihi")(fuzz_loihi)
app.command("first-run")(first_run)
app.command("warm")(warm)
