import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from av_digits.scoring import score_model

from backends.fuse import fuse
from backends.registry import Registry
from fusion.encoding import Samples
from fusion.files import read_recording
from fusion.model import load_model
from fusion.samples import list_samples, read_sample

EXAMPLE = Path(__file__).parents[2] / "examples" / "av_digits"
NUMBERS = range(701, 801)

WITHOUT_TORCH = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0] + "/evaluate.py", run_name="__main__")
assert "torch" not in sys.modules
"""


def test_the_model_is_small_and_its_weights_are_single_precision() -> None:
    model = load_model(EXAMPLE)
    assert sum(len(part) for part in model.content.values()) <= 2_000_000
    weights = [node.weight.dtype for node in model.graph.nodes.values() if hasattr(node, "weight")]
    assert weights
    assert set(weights) == {np.dtype(np.float32)}


def test_the_samples_are_recognised_and_noise_lowers_the_quality_score(sights: Path) -> None:
    clean, noisy = (
        score_model(EXAMPLE, EXAMPLE / "samples", sights, NUMBERS, level) for level in (0, 3)
    )
    assert clean.n == 10
    assert clean.fused == 1.0
    assert clean.vision >= 0.9
    assert clean.audio >= 0.8
    assert noisy.q < clean.q - 0.2


def test_a_quiet_or_late_word_is_answered_alike() -> None:
    model = load_model(EXAMPLE)
    contract = model.contract()
    program = Registry().backend("numpy").compile(model, contract)
    variants = []
    for sample in list_samples(EXAMPLE)[:5]:
        heard = read_sample(EXAMPLE, model, sample.name, "audio")
        assert isinstance(heard, Samples)
        late = np.concatenate((np.zeros(1600), heard.values))
        quiet = np.round(heard.values * 0.1)
        variants += [{"audio": Samples(values, 8000)} for values in (heard.values, late, quiet)]
    answers = fuse(model, program, contract, variants)
    beliefs = np.array([a.windows[0].decision.posterior for a in answers]).reshape(5, 3, 10)
    np.testing.assert_array_equal(beliefs[:, 0], beliefs[:, 1])
    best = beliefs.argmax(axis=2)
    np.testing.assert_array_equal(best[:, 0], best[:, 2])


def test_every_population_is_active() -> None:
    model = load_model(EXAMPLE)
    contract = model.contract()
    program = Registry().backend("numpy").compile(model, contract)
    recordings = [
        {
            sensor: read_recording(EXAMPLE / "samples" / file, model.encoders[sensor])
            for sensor, file in sample.files.items()
        }
        for sample in list_samples(EXAMPLE)
    ]
    answers = fuse(model, program, contract, recordings)
    for name in answers[0].counts.spikes:
        neurons = int(np.prod(model.graph.nodes[name].input_type["input"]))
        spikes = sum(answer.counts.spikes[name] for answer in answers)
        share = spikes / (neurons * answers[0].steps * len(answers))
        assert 0.01 <= share <= 0.5, name


def test_the_manifest_says_where_the_data_came_from() -> None:
    content = yaml.safe_load((EXAMPLE / "fusion.yaml").read_text())
    provenance = content["provenance"]
    assert provenance["audio"]["licence"] == "CC BY-SA 4.0"
    assert "flatters late fusion" in provenance["caveat"]


def test_the_script_scores_without_pytorch(sights: Path) -> None:
    arguments = ["--model", str(EXAMPLE), "--fsdd", str(EXAMPLE / "samples"), "--nmnist"]
    arguments += [str(sights), "--ids", "701:720", "--level", "2", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(EXAMPLE), *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=EXAMPLE,
    )
    assert len(done.stdout.splitlines()) == 1
    score = json.loads(done.stdout)
    assert sorted(score) == ["audio", "fused", "n", "q", "vision"]
    assert score["fused"] >= 0.8


def test_the_script_names_what_it_cannot_read(tmp_path: Path) -> None:
    arguments = ["--model", str(EXAMPLE), "--fsdd", str(tmp_path), "--nmnist", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(EXAMPLE / "evaluate.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "holds no wav files" in done.stderr
    assert "Traceback" not in done.stderr
