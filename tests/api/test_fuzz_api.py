import pytest
from support.fuzz_api import fuzz


@pytest.mark.full
def test_calls_of_every_kind_are_answered_as_documented():
    fuzzed = fuzz(calls=200)
    assert fuzzed.calls > 1000
    assert fuzzed.passed == fuzzed.calls, fuzzed.report
