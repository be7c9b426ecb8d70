"""A comparison as plain values and as one page of HTML with its picture inside."""

import base64
import html
from collections.abc import Sequence
from typing import Any

from rich.markup import escape

from api.replies import ComparedReply, ComparisonReply, ModelName
from backends.compare import PairComparison, TargetRun
from backends.comparison import Comparison

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;
color:#1f2933}table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #cbd2d9;
padding:.25rem .6rem;text-align:left}th{background:#f0f4f8}img{max-width:100%}
.identical{color:#2d6a4f}.different{color:#c1121f}.equivalent{color:#b36b00}"""


def comparison_reply(
    model: ModelName,
    runs: Sequence[TargetRun],
    pairs: Sequence[PairComparison],
    quantisation: Any = None,
) -> ComparisonReply:
    """Return a comparison as it is encoded to JSON, with what was lost if it was to quantise."""
    return {
        "model": model,
        "steps": runs[0].steps,
        "targets": [_target(run) for run in runs],
        "pairs": list(pairs),
        "quantisation": quantisation,
    }


def _target(run: TargetRun) -> ComparedReply:
    return {
        "target": run.target,
        "contract": run.contract.as_dict(),
        "label": run.label,
        "spikes": dict(run.spikes),
        "synaptic_events": run.synaptic_events,
        "run_s": run.run_s,
        "energy": run.energy.energy,
        "energy_reason": run.energy.reason,
    }


def explain(pair: PairComparison) -> str:
    """Return the first divergence of a pair as a sentence, empty if there is none."""
    found = pair.divergence
    if found is None:
        return ""
    parts = []
    for target, spikes, v, margin in zip(
        pair.targets, found.spikes, found.v, found.margin, strict=True
    ):
        told = "no potential to tell" if v is None else f"v = {v:.9g}"
        if margin is not None:
            told += f", {abs(margin):.3g} {'above' if margin > 0 else 'below or at'} the threshold"
        parts.append(f"{target} fires {spikes} ({told})")
    return (
        f"First difference in step {found.step}, neuron {found.neuron} of {found.node}: "
        + "; ".join(parts)
    )


def pair_lines(pair: PairComparison) -> list[str]:
    """Return a pair's verdict, measures and first divergence as lines for a terminal."""
    lines = [f"[bold]{' and '.join(pair.targets)}: {pair.verdict}[/bold]"]
    for one in pair.populations:
        lines.append(
            f"  {escape(one.node)}: {one.spikes[0]} and {one.spikes[1]} spikes, "
            f"{one.mismatched} of "
            f"{one.bins} bins differ ({one.mismatched_at_lag} at lag {one.lag_steps:+d}), cosine "
            f"{one.cosine:.4f}, van Rossum {one.van_rossum:.4g}"
        )
    if pair.divergence is not None:
        lines.append(f"  {escape(explain(pair))}")
    if pair.decisions_agree is not None:
        lines.append(f"  decisions {'agree' if pair.decisions_agree else 'differ'}")
    lines += [
        f"  contracts differ in {name}: {first} and {second}"
        for name, (first, second) in pair.contract_differences.items()
    ]
    return lines


def comparison_page(comparison: Comparison) -> str:
    """Return the comparison as one self-contained page of HTML."""
    # Drawing is imported here: it takes longer to import than all else takes to run.
    from api.picture import draw_rasters  # noqa: PLC0415

    title = html.escape(
        f"{comparison.model.name} on {', '.join(r.target for r in comparison.runs)}"
    )
    picture = base64.b64encode(draw_rasters(comparison)).decode()
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title>"
        f"<style>{_STYLE}</style><h1>{title}</h1>"
        f"<p>Model {html.escape(comparison.model.digest)}, {comparison.steps} steps.</p>"
        + "".join(_pair_html(pair) for pair in comparison.pairs)
        + f"<h2>Rasters</h2><p>Bins that differ from the first target are red.</p>"
        f"<img alt='Spike rasters of every population on every target' "
        f"src='data:image/png;base64,{picture}'>"
        + _table(
            ("contract", *(run.target for run in comparison.runs)),
            [
                (name, *(run.contract.as_dict()[name] for run in comparison.runs))
                for name in comparison.runs[0].contract.as_dict()
            ],
        )
        + "</html>\n"
    )


def _pair_html(pair: PairComparison) -> str:
    names = html.escape(" and ".join(pair.targets))
    rows = [
        (
            one.node, *one.spikes, one.bins, one.mismatched,
            f"{one.mismatched_at_lag} at {one.lag_steps:+d}",
            f"{one.cosine:.6f}", f"{one.van_rossum:.4g}",
        )
        for one in pair.populations
    ]  # fmt: skip
    heads = ("population", *(f"spikes {t}" for t in pair.targets), "bins", "mismatched",
             "at best lag", "cosine", "van Rossum")  # fmt: skip
    differing = ", ".join(
        f"{name}: {a} against {b}" for name, (a, b) in pair.contract_differences.items()
    )
    decisions = {None: "", True: "Decisions agree.", False: "Decisions differ."}
    told = (explain(pair), decisions[pair.decisions_agree], differing and f"Contracts: {differing}")
    return (
        f"<h2>{names}: <span class='{pair.verdict}'>{pair.verdict}</span></h2>"
        + "".join(f"<p>{html.escape(line)}</p>" for line in told if line)
        + _table(heads, rows)
    )


def _table(heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    def cells(kind: str, values: tuple[Any, ...]) -> str:
        return "".join(f"<{kind}>{html.escape(str(value))}</{kind}>" for value in values)

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><tr>{cells('th', heads)}</tr>{body}</table>"
