import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_sandbox.config.cores import parse_cores, plain_cores, write_cores


@given(st.frozensets(st.integers(0, 8191), min_size=1))
def test_cores_are_read_as_they_were_written(cores: frozenset[int]) -> None:
    assert parse_cores(write_cores(cores)) == cores


def test_cores_are_written_in_the_shortest_way() -> None:
    assert plain_cores("3,1,0,2,2,8-9,11") == "0-3,8-9,11"
    assert plain_cores("") == ""


@pytest.mark.parametrize("text", [" ", "-1", "1-", "3-1", "0,,1", "a", "0-8192", "1\n", "٣", "0x1", "1-2-3"])
def test_what_is_no_set_of_cores_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 0-3,8"):
        plain_cores(text)
