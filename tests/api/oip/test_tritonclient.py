"""Triton's own client works with the service as it is."""

import asyncio
import json
from importlib.metadata import version

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from support.api_models import body
from support.oip import cam, given, mic, raster
from tritonclient.utils import InferenceServerException

from api.tensors import DTYPES


def test_health(client, bare):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("listening")
    assert client.is_model_ready("listening", "2")
    assert client.is_model_ready(bare)
    assert not client.is_model_ready("listening", "3")
    assert not client.is_model_ready("nope")
    assert not client.is_model_ready("torn")


def test_server_metadata(client):
    told = client.get_server_metadata()
    assert (told["name"], told["version"]) == ("snn-fusion", version("snn-fusion"))
    assert "binary_tensor_data" in told["extensions"]


def test_model_metadata_names_every_tensor(client, bare):
    told = client.get_model_metadata("listening", "2")
    assert told["versions"] == ["2"]
    inputs = [(one["name"], one["datatype"], one["shape"]) for one in told["inputs"]]
    assert inputs == [
        ("cam.times_us", "INT64", [-1]),
        ("cam.channels", "INT32", [-1]),
        ("mic.samples", "FP32", [-1]),
    ]
    outputs = {one["name"]: (one["datatype"], one["shape"]) for one in told["outputs"]}
    assert outputs["posterior"] == ("FP64", [-1, 3])
    assert outputs["label"] == ("BYTES", [-1])
    assert outputs["cam_lif.spikes"] == ("INT32", [-1, -1, 6])
    told = client.get_model_metadata(bare)
    assert [one["name"] for one in told["inputs"]] == ["cam", "mic"]
    assert told["inputs"][0]["shape"] == [-1, -1, 2, 2]
    outputs = {one["name"]: one["shape"] for one in told["outputs"]}
    assert outputs["cam_out"] == [-1, -1, 3]


def test_every_output_is_as_the_metadata_says(client):
    told = {one["name"]: one for one in client.get_model_metadata("listening")["outputs"]}
    result = client.infer("listening", [*cam(), mic()], parameters={"record": "all"})
    outputs = result.get_response()["outputs"]
    assert {one["name"] for one in outputs} == set(told)
    for one in outputs:
        assert one["datatype"] == told[one["name"]]["datatype"]
        shape = told[one["name"]]["shape"]
        assert len(shape) == len(one["shape"])
        assert all(said in (-1, got) for said, got in zip(shape, one["shape"], strict=True))
        values = result.as_numpy(one["name"])
        if one["datatype"] != "BYTES":
            assert values.dtype == DTYPES[one["datatype"]]


def test_model_config(client):
    told = client.get_model_config("listening")
    assert told["max_batch_size"] == 0
    assert told["input"][0] == {
        "name": "cam.times_us",
        "data_type": "TYPE_INT64",
        "dims": [-1],
        "optional": True,
    }
    assert told["output"][0] == {"name": "label", "data_type": "TYPE_STRING", "dims": [-1]}
    assert told["parameters"]["labels"] == {"string_value": "left,right,none"}


@pytest.mark.parametrize("binary", [True, False])
def test_an_inference_gives_what_fuse_gives(client, oip, binary):
    fused = oip.fuse(body(record=["cam_lif"])).json()
    (window,) = fused["windows"]
    wanted = ["label", "posterior", "quality", "quality.coverage", "cam.contribution"]
    wanted += ["mic.posterior", "mic.live", "cam_lif.spike_count", "cam_lif.spikes", "cam_lif.v"]
    result = client.infer(
        "listening",
        [*cam(binary), mic(binary)],
        outputs=[triton.InferRequestedOutput(name, binary_data=binary) for name in wanted],
        request_id="seven",
    )
    told = result.get_response()
    assert told["id"] == "seven"
    assert (told["model_name"], told["model_version"]) == ("listening", "2")
    assert [one["name"] for one in told["outputs"]] == wanted
    got = {name: result.as_numpy(name)[0] for name in wanted}
    label = got["label"].decode() if binary else got["label"]
    assert label == window["label"]
    assert got["posterior"].tolist() == list(window["posterior"].values())
    assert got["quality"] == window["quality"]["score"]
    assert got["quality.coverage"] == window["quality"]["coverage"]
    assert got["cam.contribution"] == window["sensors"]["cam"]["contribution"]
    assert got["mic.posterior"].tolist() == list(window["sensors"]["mic"]["posterior"].values())
    assert got["mic.live"]
    assert got["cam_lif.spike_count"] == fused["counts"]["spikes"]["cam_lif"]
    steps, neurons = np.nonzero(got["cam_lif.spikes"])
    assert steps.tolist() == fused["spikes"]["cam_lif"]["steps"]
    assert neurons.tolist() == fused["spikes"]["cam_lif"]["neurons"]
    assert got["cam_lif.v"].tolist() == fused["recorded"]["cam_lif"]["v"]
    for field, value in fused["contract"].items():
        assert told["parameters"].get(f"contract.{field}") == value
    assert told["parameters"]["digest"] == fused["model"]["digest"]
    assert told["parameters"]["energy_reason"] == fused["energy_reason"]


def test_a_sensor_that_was_not_given_knows_and_contributes_nothing(client):
    result = client.infer("listening", cam())
    assert result.as_numpy("mic.posterior").tolist() == [[1 / 3] * 3]
    assert result.as_numpy("mic.contribution").tolist() == [0.0]
    assert result.as_numpy("mic.live").tolist() == [False]
    assert result.as_numpy("posterior").tolist() == result.as_numpy("cam.posterior").tolist()
    assert "mic" in result.get_response()["parameters"]["warnings"]


def test_logits_are_the_log_of_the_posterior(client):
    result = client.infer("listening", [*cam(), mic()])
    posterior = result.as_numpy("posterior")
    np.testing.assert_allclose(np.exp(result.as_numpy("logits")), posterior, rtol=1e-14)


@pytest.mark.parametrize("sent", [None, "gzip", "deflate"])
@pytest.mark.parametrize("wanted", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression_both_ways(client, sent, wanted, binary):
    output = triton.InferRequestedOutput("mic_lif.v", binary_data=binary)
    plain = client.infer("listening", [mic()], outputs=[output])
    result = client.infer(
        "listening",
        [mic(binary)],
        outputs=[output],
        request_compression_algorithm=sent,
        response_compression_algorithm=wanted,
    )
    assert result.as_numpy("mic_lif.v").tolist() == plain.as_numpy("mic_lif.v").tolist()


def test_a_raster_gives_what_its_events_give(client):
    events = client.infer("listening", cam())
    binned = client.infer("listening", [given("cam", raster())])
    for name in ("posterior", "logits", "label", "cam.contribution", "cam_lif.spike_count"):
        assert binned.as_numpy(name).tolist() == events.as_numpy(name).tolist()


def test_rasters_in_a_batch_give_what_they_give_alone(client):
    rng = np.random.default_rng(5)
    rasters = [raster(), rng.integers(0, 3, (1, 40, 2, 2)).astype(np.float32), raster() * 0]
    outputs = [triton.InferRequestedOutput(n) for n in ("logits", "label", "cam_lif.v")]
    whole = client.infer("listening", [given("cam", np.concatenate(rasters))], outputs=outputs)
    for index, one in enumerate(rasters):
        alone = client.infer("listening", [given("cam", one)], outputs=outputs)
        for name in ("logits", "label", "cam_lif.v"):
            assert np.array_equal(whole.as_numpy(name)[index], alone.as_numpy(name)[0])


NUMBERS = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"]


@pytest.mark.parametrize(
    ("dtype", "binary"),
    # The client sends FP16 as raw numbers only.
    [("f2", True), *((dtype, binary) for dtype in NUMBERS for binary in (True, False))],
)
def test_a_raster_may_be_of_any_number_type(client, dtype, binary):
    ones = (raster() > 0).astype(dtype)
    wanted = client.infer("listening", [given("cam", ones.astype(np.float32))])
    result = client.infer("listening", [given("cam", ones, binary)])
    assert result.as_numpy("logits").tolist() == wanted.as_numpy("logits").tolist()


def test_a_bare_graph_takes_rasters_and_gives_output_activity(client, oip, bare):
    mic_lines = client.get_model_metadata(bare)["inputs"][1]["shape"][-1]
    inputs = [given("cam", raster()), given("mic", np.zeros((1, 40, mic_lines), np.float32))]
    choices = {"profile": "nir", "dt_s": 0.005, "record": "cam_lif"}
    result = client.infer(bare, inputs, parameters=choices)
    fused = oip.fuse({"sensors": {"cam": body()["sensors"]["cam"]}, "record": ["cam_lif"]}).json()
    assert result.as_numpy("cam_out").shape == (1, 40, 3)
    assert result.as_numpy("cam_lif.spike_count")[0] == fused["counts"]["spikes"]["cam_lif"]
    assert result.as_numpy("cam_lif.v")[0].tolist() == fused["recorded"]["cam_lif"]["v"]
    assert result.as_numpy("synaptic_events")[0] == fused["counts"]["synaptic_events"]
    assert "model_version" not in result.get_response()


def test_parameters_choose_target_contract_and_deadline(client):
    result = client.infer(
        "listening",
        cam(),
        timeout=30_000_000,
        parameters={"target": "numpy", "contract.arithmetic": "float32", "seed": 5, "dt_s": 0.01},
    )
    told = result.get_response()["parameters"]
    assert told["target"] == "numpy"
    assert told["contract.arithmetic"] == "float32"
    assert (told["seed"], told["steps"], told["contract.dt_s"]) == (5, 20, 0.01)


def test_the_energy_of_a_batch_is_that_of_its_samples(client):
    emulated = {"target": "chip"}
    one = client.infer("listening", [given("cam", raster())], parameters=emulated)
    pair = given("cam", np.concatenate([raster(), raster()]))
    two = client.infer("listening", [pair], parameters=emulated)
    told = one.get_response()["parameters"]
    assert told["energy_kind"] == "estimate"
    assert told["energy_j"] > 0
    assert two.get_response()["parameters"]["energy_j"] == 2 * told["energy_j"]
    assert (
        client.infer("listening", cam(), parameters=emulated).get_response()["parameters"][
            "energy_j"
        ]
        == told["energy_j"]
    )


def test_a_request_may_be_quantised_and_is_told_what_that_lost(client, oip):
    chosen = {"target": "loihi-emulator", "quantise": True}
    told = client.infer("listening", [*cam(), mic()], parameters=chosen).get_response()
    fused = oip.fuse(body(**chosen)).json()
    assert json.loads(told["parameters"]["quantisation"]) == fused["quantisation"]
    assert told["parameters"]["warnings"] == "; ".join(fused["warnings"])
    assert told["parameters"]["energy_j"] == fused["energy"]["joules"]
    with pytest.raises(InferenceServerException, match=r"parameters\.quantise: is for recordings"):
        client.infer("listening", [given("cam", raster())], parameters=chosen)


def test_classification_gives_the_best_labels_first(client):
    output = triton.InferRequestedOutput("posterior", class_count=2)
    result = client.infer("listening", cam(), outputs=[output])
    posterior = client.infer("listening", cam()).as_numpy("posterior")[0]
    best = np.argsort(-posterior)[:2]
    labels = ["left", "right", "none"]
    wanted = [f"{posterior[k]:f}:{k}:{labels[k]}".encode() for k in best]
    assert result.as_numpy("posterior").tolist() == [wanted]


@pytest.mark.parametrize(
    ("model", "changes", "status", "says"),
    [
        ("nope", {}, "404", "'nope' is unknown (try: "),
        ("listening", {"model_version": "9"}, "404", "has no version '9' (try: 2)"),
        ("listening", {"inputs": []}, "422", "sensors: is empty"),
        ("listening", {"parameters": {"target": "x"}}, "404", "x"),
        ("listening", {"parameters": {"dt_s": -1}}, "422", "parameters.dt_s"),
        ("listening", {"parameters": {"what": 1}}, "422", "parameters.what: is unknown"),
        ("listening", {"parameters": {"contract.reset": "x"}}, "422", "reset"),
        ("listening", {"timeout": 600_000_000}, "422", "deadline_s"),
        ("listening", {"sequence_id": 7}, "501", "sequences are not kept"),
        ("listening", {"outputs": [triton.InferRequestedOutput("x")]}, "422", "no output 'x'"),
    ],
)
def test_errors_reach_the_caller(client, model, changes, status, says):
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, **{"inputs": cam(), **changes})
    assert caught.value.status() == status
    assert says in caught.value.message()


def test_shared_memory_is_refused(client):
    shared = triton.InferInput("cam.times_us", [3], "INT64")
    shared.set_shared_memory("region", 24)
    with pytest.raises(InferenceServerException, match="in shared memory"):
        client.infer("listening", [shared])
    with pytest.raises(InferenceServerException, match="Not Found"):
        client.get_system_shared_memory_status()


def test_statistics_count_inferences(client):
    def counted(name):
        (told,) = client.get_inference_statistics(name)["model_stats"]
        return told

    before = counted("spare")
    client.infer("spare", [given("cam", np.concatenate([raster(), raster()]))])
    with pytest.raises(InferenceServerException):
        client.infer("spare", cam(), parameters={"dt_s": -1})
    after = counted("spare")
    assert after["inference_count"] == before["inference_count"] + 2
    assert after["execution_count"] == before["execution_count"] + 1
    gained = {
        part: after["inference_stats"][part]["count"] - before["inference_stats"][part]["count"]
        for part in after["inference_stats"]
    }
    assert gained.pop("fail") == 1
    assert set(gained.values()) == {1}
    names = {one["name"] for one in client.get_inference_statistics()["model_stats"]}
    assert names >= {"listening", "spare"}


def test_the_async_client_works_too(oip):
    address = str(oip.client.base_url).rstrip("/").removeprefix("http://")

    async def talk():
        async with triton_aio.InferenceServerClient(address) as client:
            assert await client.is_server_ready()
            assert (await client.get_server_metadata())["name"] == "snn-fusion"
            assert (await client.get_model_metadata("listening"))["platform"] == "nir"
            raw = await client.infer("listening", cam())
            text = await client.infer(
                "listening", cam(False), outputs=[triton_aio.InferRequestedOutput("logits", False)]
            )
            assert raw.as_numpy("logits").tolist() == text.as_numpy("logits").tolist()
            with pytest.raises(InferenceServerException, match="'nope' is unknown"):
                await client.infer("nope", cam())

    asyncio.run(talk())
