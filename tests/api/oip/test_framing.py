import json

import numpy as np
import pytest
from tritonclient.http import InferResult

from api.oip.framing import OutputTensor, make_reply
from api.tensors import DTYPES, HEADER_LENGTH
from fusion.errors import InvalidInput


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("datatype", DTYPES)
def test_every_datatype_comes_back_from_tritonclient(datatype, binary):
    values = np.array([[0, 1, 1], [1, 0, 1]]).astype(DTYPES[datatype])
    tensors = [OutputTensor("first", values, binary), OutputTensor("second", values[:, 1:], binary)]
    reply = make_reply({"model_name": "m"}, tensors, "")
    result = InferResult.from_response_body(
        reply.content, header_length=reply.headers.get(HEADER_LENGTH)
    )
    for tensor in tensors:
        back = result.as_numpy(tensor.name)
        assert back.dtype == values.dtype
        assert back.tolist() == tensor.values.tolist()
    assert result.get_output("first")["datatype"] == datatype


@pytest.mark.parametrize("binary", [True, False])
def test_texts_come_back_from_tritonclient(binary):
    values = np.array([["ja", ""], ["später", "日"]], object)
    reply = make_reply({}, [OutputTensor("texts", values, binary)], "")
    result = InferResult.from_response_body(
        reply.content, header_length=reply.headers.get(HEADER_LENGTH)
    )
    back = result.as_numpy("texts")
    assert [one.decode() if binary else one for one in back.flat] == list(values.flat)


def test_what_json_cannot_say_is_refused_and_raw_is_fine():
    values = np.array([1.0, np.inf])
    with pytest.raises(InvalidInput, match="v holds a number that is not finite"):
        make_reply({}, [OutputTensor("v", values, False)], "")
    assert make_reply({}, [OutputTensor("v", values, True)], "").content.endswith(values.tobytes())


def test_short_replies_are_not_compressed():
    assert "Content-Encoding" not in make_reply({}, [], "gzip").headers
    assert json.loads(make_reply({}, [], "gzip").content) == {"outputs": []}
