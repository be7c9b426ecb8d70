"""No body, however wrong, gives a status of 500 or more."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from support.api_models import CAM_EVENTS, body
from support.api_server import tensor

from api.requests import FuseRequest

FUZZ = settings(max_examples=60)
VALID = json.dumps(
    body(seed=1, target="numpy", contract={"reset": "to_v_reset"}, record=["cam_lif"])
    | {"sensors": {"cam": {"events": CAM_EVENTS}, "mic": {"sample": "one"}}}
)
PARTS = [
    tensor("cam.times_us", CAM_EVENTS["times_us"], "<i8"),
    tensor("cam.channels", CAM_EVENTS["channels"], "<i4"),
    tensor("cam.values", [1.0] * 7, "<f4"),
]
HEADER = json.dumps({"inputs": [entry for entry, _ in PARTS]}).encode()
TAIL = b"".join(raw for _, raw in PARTS)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["events", "times_us", "values", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from([*FuseRequest.__struct_fields__, "x"])


def fine(reply, deadline=False):
    late = deadline and reply.status_code == 504
    assert reply.status_code < 500 or late, reply.text
    assert "Traceback" not in reply.text
    if reply.status_code != 200:
        assert reply.json()["detail"]


def mutated(draw, content):
    """Return bytes with some replaced, cut out or put in."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        content[at : at + draw(st.integers(0, 9))] = draw(st.binary(max_size=9))
    return bytes(content)


@FUZZ
@given(content=st.binary(max_size=200), kind=st.sampled_from(["", "application/json"]))
def test_random_bytes(server, content, kind):
    fine(server.send(content, **({"content_type": kind} if kind else {})))


@FUZZ
@given(data=st.data())
def test_mutated_json(server, data):
    fine(server.send(mutated(data.draw, VALID.encode())))


@FUZZ
@given(field=FIELDS, value=JSON)
def test_fields_of_any_value(server, field, value):
    reply = server.send(json.dumps(body() | {field: value}).encode())
    fine(reply, deadline=field == "deadline_s")


@FUZZ
@given(name=st.sampled_from(["cam", "mic", "x"]), value=JSON)
def test_sensors_of_any_value(server, name, value):
    fine(server.send(json.dumps({"sensors": {name: value}}).encode()))


NUMBERS = st.lists(st.integers() | st.floats(), max_size=8)


@FUZZ
@given(
    times=NUMBERS | st.lists(st.integers(0, 2**20), max_size=8).map(sorted),
    channels=st.lists(st.integers(-1, 5), max_size=8),
    values=st.none() | NUMBERS,
    dt_s=st.floats(1e-4, 10) | st.just(0.005),
    arithmetic=st.sampled_from(["float32", "float64"]),
)
def test_events_of_any_value(server, times, channels, values, dt_s, arithmetic):
    channels = (channels + [0] * 8)[: len(times)]
    values = values and (values + [1.0] * 8)[: len(times)]
    sensors = {"cam": {"events": {"times_us": times, "channels": channels, "values": values}}}
    contract = {"arithmetic": arithmetic}
    sent = {"sensors": sensors, "dt_s": round(dt_s, 6), "contract": contract}
    fine(server.send(json.dumps(sent).encode()))


@FUZZ
@given(values=NUMBERS, rate_hz=st.floats() | st.integers() | st.sampled_from([8000, 44100, 384000]))
def test_samples_of_any_value(server, values, rate_hz):
    samples = {"values": values, "rate_hz": rate_hz}
    fine(server.send(json.dumps({"sensors": {"mic": {"samples": samples}}}).encode()))


@FUZZ
@given(data=st.data(), shift=st.integers(-3, 3))
def test_mutated_binary(server, data, shift):
    header = mutated(data.draw, HEADER) if data.draw(st.booleans()) else HEADER
    tail = mutated(data.draw, TAIL) if data.draw(st.booleans()) else TAIL
    reply = server.send(
        header + tail,
        content_type="application/octet-stream",
        inference_header_content_length=str(len(header) + shift),
    )
    fine(reply)
