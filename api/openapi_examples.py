"""Examples and prose of the OpenAPI document."""

from typing import Any

from fusion.contract import PROFILES

BINARY_TEXT = """\
Runs a model on one window of any non-empty subset of its sensors and fuses what they say.

A sensor gives **events** (`times_us` ascending, `channels`, maybe `values`), **samples** (`values`
at `rate_hz`), or names a **sample** that ships with the model (`GET /v1/samples`).

As `application/octet-stream` the body is the same JSON object as a header, its length in
`Inference-Header-Content-Length`, followed by the raw little-endian numbers of those tensors in
`inputs` whose parameters give a `binary_data_size`, in order. Tensors are called
`SENSOR.times_us` (INT64), `SENSOR.channels` (INT32), `SENSOR.values` (FP32) and `SENSOR.samples`
(FP32, FP64 or INT16, with the parameter `rate_hz`).

Bodies may be compressed with gzip or deflate.
"""

BODY: dict[str, Any] = {
    "model": "av_digits",
    "target": "numpy",
    "sensors": {
        "vision": {"events": {"times_us": [1204, 1377, 2050], "channels": [613, 1771, 640]}},
        "audio": {"samples": {"rate_hz": 8000, "values": [0.0, 0.012, -0.034, 0.021]}},
    },
    "record": ["all"],
    "seed": 7,
}

TENSORS: dict[str, Any] = {
    "inputs": [
        {"name": "vision.times_us", "datatype": "INT64", "shape": [3], "data": [1204, 1377, 2050]},
        {"name": "vision.channels", "datatype": "INT32", "shape": [3], "data": [613, 1771, 640]},
        {
            "name": "audio.samples",
            "datatype": "INT16",
            "shape": [4],
            "parameters": {"rate_hz": 8000},
            "data": [0, 393, -1114, 688],
        },
    ]
}

REPLY: dict[str, Any] = {
    "request_id": "5f0c0a86b25b4ab9a1b1f1d2b7c1c0de",
    "model": {"name": "av_digits", "version": "1", "digest": "4be1…"},
    "target": "numpy",
    "contract": {"dt_s": 0.01, **PROFILES["nir"]},
    "seed": 7,
    "steps": 70,
    "dt_s": 0.01,
    "windows": [
        {
            "start_us": 0,
            "end_us": 700000,
            "label": "7",
            "posterior": {"1": 0.04, "7": 0.96},
            "confidence": 0.96,
            "sensors": {
                "vision": {
                    "posterior": {"1": 0.12, "7": 0.88},
                    "contribution": 0.21,
                    "events": 4105,
                    "outside_window": 0,
                    "onset_us": None,
                    "live": True,
                },
                "audio": {
                    "posterior": {"1": 0.25, "7": 0.75},
                    "contribution": 0.09,
                    "events": 912,
                    "outside_window": 0,
                    "onset_us": 132000,
                    "live": True,
                },
            },
            "quality": {"score": 0.74, "certainty": 0.76, "conflict": 0.02, "coverage": 1.0},
        }
    ],
    "spikes": {"vision_hidden": {"steps": [3, 3, 5], "neurons": [12, 80, 7]}},
    "recorded": {"vision_hidden": {"v": [[0.0, 0.11], [0.02, 0.16]]}},
    "counts": {
        "synaptic_events": 128412,
        "neuron_updates": 17920,
        "spikes": {"vision_hidden": 3},
        "overflows": {},
    },
    "energy": None,
    "energy_reason": "target 'numpy': it runs on a processor, whose energy is not measured",
    "timing": {"decode_s": 0.0004, "queue_s": 0.0001, "run_s": 0.0121, "total_s": 0.0139},
    "quantisation": None,
    "warnings": [],
}

PROBLEM: dict[str, Any] = {
    "type": "urn:snn-fusion:problem:invalid-input",
    "title": "The request cannot be used as it is",
    "status": 422,
    "detail": "sensors.vision.events.channels[3]: 4000 is out of range (try: 0 to 2311)",
    "field": "sensors.vision.events.channels[3]",
    "nearest": "0 to 2311",
    "request_id": "5f0c0a86b25b4ab9a1b1f1d2b7c1c0de",
}

CHECK_TEXT = """\
Nothing is run. Every target gets an entry: whether it can be used now, every limit that the model
exceeds with the nearest value that would work, the model's size, its memory and the estimated time
of a run. A target that cannot be used stands in its own entry and fails no other.
"""

CHECK: dict[str, Any] = {
    "model": "av_digits",
    "targets": ["numpy", "small_chip"],
    "contract": {"arithmetic": "float32"},
}

_SIZE: dict[str, Any] = {
    "populations": [
        {"node": "vision_hidden", "kind": "CubaLIF", "neurons": 1176},
        {"node": "vision_logits", "kind": "LI", "neurons": 10},
    ],
    "neurons": 1186,
    "synapses": 634976,
    "cores": None,
    "memory_bytes": 7927840,
    "run_s_assumes": "70 steps, one sample, 5% of all lines active in a step",
}

CHECK_REPLY: dict[str, Any] = {
    "model": {"name": "av_digits", "version": "1", "digest": "4be1…"},
    "contract": {"dt_s": 0.01, **PROFILES["nir"], "arithmetic": "float32"},
    "targets": [
        {
            "target": "numpy",
            "available": True,
            "reason": None,
            "hint": None,
            "fits": True,
            "violations": [],
            "run_s": 0.084,
            **_SIZE,
        },
        {
            "target": "small_chip",
            "available": False,
            "reason": "no backend 'small_chip' is installed",
            "hint": "install the package that offers it as an entry point of snn_fusion.backends",
            "fits": None,
        },
    ],
}

COMPARE_TEXT = """\
Runs one request on two or more targets under one contract and compares every two of them, neuron
by neuron and step by step: the first spike that differs, with the potential that each target tested
and its margin to the threshold; measures of every population; whether the fused labels agree.

A pair is **identical** if no spike and no contract field differs, **equivalent** if, after the best
lag, mismatched bins are at most `tolerance` of the spikes and the labels agree, else **different**.

The body is that of `POST /v1/fuse`, binary or not, and `targets`.
"""

COMPARE: dict[str, Any] = {
    "model": "av_digits",
    "targets": ["numpy", "brian2"],
    "tolerance": 0.01,
    "sensors": BODY["sensors"],
}

_COMPARED: dict[str, Any] = {
    "contract": REPLY["contract"],
    "label": "7",
    "spikes": {"vision_hidden": 3},
    "synaptic_events": 128412,
    "energy": None,
    "energy_reason": REPLY["energy_reason"],
}

COMPARE_REPLY: dict[str, Any] = {
    "model": REPLY["model"],
    "steps": 70,
    "targets": [
        {"target": "numpy", "run_s": 0.012, **_COMPARED},
        {"target": "brian2", "run_s": 0.051, **_COMPARED},
    ],
    "quantisation": None,
    "pairs": [
        {
            "targets": ["numpy", "brian2"],
            "contract_differences": {},
            "populations": [
                {
                    "node": "vision_hidden",
                    "spikes": [3, 2],
                    "bins": 8960,
                    "mismatched": 1,
                    "lag_steps": 0,
                    "mismatched_at_lag": 1,
                    "cosine": 0.8165,
                    "van_rossum": 0.7071,
                }
            ],
            "divergence": {
                "node": "vision_hidden",
                "step": 5,
                "neuron": 7,
                "spikes": [1, 0],
                "v": [1.0000000000000002, 1.0],
                "threshold": 1.0,
                "margin": [2.220446049250313e-16, 0.0],
            },
            "decisions_agree": True,
            "verdict": "different",
            "tolerance": 0.01,
        }
    ],
}
