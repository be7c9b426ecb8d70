"""The command `snn-fusion quantise`: a model in, the same model with Loihi's integers out."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from api.calibrating import read_samples
from api.contract_options import contract_options
from api.named_inputs import find_model
from api.plain_errors import plain_errors
from api.quantising import loss_tables
from api.settings import load_settings
from api.targets import make_registry
from backends.contracts import contract_on
from backends.quantisation import quantise_model
from backends.quantisation_file import dump
from fusion.saving import save_model

Samples = "samples, sample:NAME, or as run --input; the n-th of each together, repeatable"


@contract_options
def quantise(
    *,
    model: Annotated[str, typer.Argument(help="model folder, zip, name, or bare .nir file")],
    target: Annotated[str, typer.Option(help="a target that needs integers")],
    calibrate: Annotated[list[str], typer.Option(help=Samples)],
    out: Annotated[Path, typer.Option(help="folder or .zip to write; must not exist")],
    measure: Annotated[list[str], typer.Option(help="other samples, to measure on")] = [],  # noqa: B006 (typer copies it)
    profile: Annotated[str | None, typer.Option(help="contract profile")] = None,
    dt: Annotated[float | None, typer.Option(help="seconds per step, dt_s")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    overrides: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Turn a model into a chip's integers, and tell what that loses.

    The model that is written is the old one with loihi.npz and quantisation.json, the report, in
    it; shipped samples go along. Calibration samples should be typical: registers are scaled to
    hold twice what they bring about.
    """
    with plain_errors():
        settings = load_settings()
        shelved = find_model(model, settings)
        own = shelved.model.contract(profile, dt, overrides)
        chosen = make_registry(settings).target(target)
        contract = contract_on(chosen, own)
        known, others = (read_samples(given, shelved, contract) for given in (calibrate, measure))
        with Console(stderr=True).status("quantising") as progress:
            made = quantise_model(shelved.model, own, chosen, known, others, progress.update)
        save_model(made.model, out, shelved.path)
    if as_json:
        sys.stdout.buffer.write(dump(made.file))
        return
    console = Console()
    for part in loss_tables(made.file):
        console.print(part)
    console.print(f"written to {escape(str(out))}")
