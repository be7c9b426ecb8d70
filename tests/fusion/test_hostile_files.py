"""Files damaged at random: each one runs, or is refused with an error that names what is wrong.

`make fuzz-files` goes on with this for as long as one likes.
"""

import warnings

import pytest
from support.hostile import Judge
from support.mutants import mutant, originals


@pytest.fixture(scope="module")
def judge():
    made = Judge()
    yield made
    made.close()


@pytest.mark.parametrize("name", ["every", "small", "loop"])
def test_what_is_not_damaged_runs(judge, name):
    assert judge.of(originals()[name], in_child=True) == "runs"


@pytest.mark.parametrize("number", range(40))
def test_a_damaged_file_runs_or_is_refused_by_name(judge, number):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        judge.of(mutant(2026, number)[1], in_child=True)


@pytest.mark.full
@pytest.mark.parametrize("block", range(10))
def test_many_damaged_files_run_or_are_refused_by_name(judge, block):
    for number in range(40 + 30 * block, 70 + 30 * block):
        judge.of(mutant(2026, number)[1], in_child=True)
