from support.api_models import CAM_EVENTS, DT_S, body


def test_targets_tell_what_they_can_do_and_whether_they_can_be_used(server):
    targets = {t["name"]: t for t in server.client.get("/v1/targets").json()["targets"]}
    assert targets["cpu"]["default"]
    assert targets["numpy"]["available"]
    assert "LIF" in targets["numpy"]["capabilities"]["node_types"]
    assert targets["numpy"]["queue"]["max_waiting"] == 64
    assert targets["numpy"]["energy"] is None
    assert targets["loihi-emulator"]["capabilities"]["neurons_per_core"] == 1024
    assert targets["loihi-emulator"]["energy"]["pj_per_synaptic_event"] == 23.6
    absent = targets["absent"]
    assert not absent["available"]
    assert "none_such" in absent["reason"]
    assert "install" in absent["hint"]


def test_models_tell_their_sensors_and_why_others_cannot_be_read(server):
    reply = server.client.get("/v1/models").json()
    (model,) = reply["models"]
    assert (model["name"], model["version"], model["default"]) == ("listening", "2", True)
    assert model["description"] == "A camera and a microphone."
    assert model["labels"] == ["left", "right", "none"]
    assert model["contract"]["dt_s"] == DT_S
    cam, mic = model["sensors"]["cam"], model["sensors"]["mic"]
    assert (cam["unit"], cam["shape"], cam["channels"]) == ("events", [2, 2], 4)
    assert (mic["unit"], mic["rate_hz"], mic["encoder"]["kind"]) == ("samples", 8000, "mel_onset")
    assert model["heads"]["mic"]["reliability"] == 0.6
    assert model["problem"] is None
    (torn,) = reply["problems"]
    assert torn["path"].endswith("torn")
    assert "NIR" in torn["problem"]


def test_a_sample_can_be_posted_by_the_name_that_is_listed(server):
    (sample,) = server.client.get("/v1/samples").json()["samples"]
    assert sample["attribution"] == "made by this test"
    sensors = {name: {"sample": sample["name"]} for name in sample["sensors"]}
    reply = server.fuse({"model": sample["model"], "sensors": sensors}).json()
    assert reply["windows"][0]["sensors"]["cam"]["events"] == len(CAM_EVENTS["times_us"])
    assert reply["windows"][0]["posterior"].keys() == body_labels(server)


def body_labels(server):
    return server.fuse(body()).json()["windows"][0]["posterior"].keys()


def test_the_root_points_to_the_documentation(server):
    reply = server.client.get("/").json()
    assert server.client.get(reply["docs"]).status_code == 200
    assert server.client.get(reply["openapi"]).status_code == 200
