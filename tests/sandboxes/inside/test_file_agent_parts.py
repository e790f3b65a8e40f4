"""The pure parts of the file agent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_sandbox.errors import Invalid, LimitReached
from lm_sandbox.sandboxes.file_path import FilePath, file_path
from lm_sandbox.sandboxes.inside.file_agent.archives import safe_parts
from lm_sandbox.sandboxes.inside.file_agent.globs import translate
from lm_sandbox.sandboxes.inside.file_agent.refused import Refused
from lm_sandbox.sandboxes.inside.file_errors import error_of, error_of_number

NAME = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(st.text(max_size=300))
def test_a_path_is_taken_or_refused_by_its_field(text: str) -> None:
    try:
        path = file_path(text)
    except Invalid as error:
        path = FilePath(f"/{error.field}")
    assert path.startswith("/")
    assert "\0" not in path
    assert "//" not in path
    assert len(path.encode(errors="surrogateescape")) <= 4095


@given(st.binary(max_size=200).filter(lambda raw: b"\0" not in raw))
def test_every_byte_that_a_name_may_have_stays(raw: bytes) -> None:
    text = raw.decode(errors="surrogateescape")
    parts = [part for part in raw.split(b"/") if part not in {b"", b"."}]
    assert file_path("/" + text).encode(errors="surrogateescape") == b"/" + b"/".join(parts)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "absolute"),
        ("a", "absolute"),
        ("../a", "absolute"),
        ("/a\0b", "NUL"),
        ("/" + "x" * 256, "255"),
        ("/" + "é" * 128, "255"),
        ("/x" * 2048, "4095"),
        ("/\ud800", "character"),
    ],
)
def test_a_bad_path_is_refused_with_the_reason(text: str, word: str) -> None:
    with pytest.raises(Invalid, match=word) as refused:
        file_path(text, "to")
    assert refused.value.field == "to"


@given(st.lists(NAME, min_size=1, max_size=5))
def test_a_plain_name_matches_itself_and_two_stars_match_everything(parts: list[str]) -> None:
    path = "/".join(part for part in parts if part != ".") or "a"
    escaped = "".join(f"[{character}]" if character in "*?[" else character for character in path)
    assert translate(escaped).fullmatch(path)
    assert translate("**").fullmatch(path)
    assert translate("*").fullmatch(path) if "/" not in path else not translate("*").fullmatch(path)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_pattern_breaks_the_matcher(pattern: str, path: str) -> None:
    try:
        matcher = translate(pattern)
    except Refused as refused:
        assert refused.field == "glob"  # noqa: PT017 - hypothesis tries both ways
    else:
        matcher.fullmatch(path)


@given(st.text(max_size=60))
def test_the_name_of_an_entry_never_leads_out(name: str) -> None:
    try:
        parts = safe_parts(name, name)
    except Refused:
        assert name.startswith("/") or ".." in name.split("/")
    else:
        assert not {"..", ".", ""} & set(parts)


def test_every_error_number_becomes_an_error_of_ours() -> None:
    for number in range(1, 134):
        assert error_of_number(number, "/a\udcff").message.encode()
    assert isinstance(error_of({"errno": 5, "limit": "memory"}, "/a"), LimitReached)
    assert isinstance(error_of({"refused": "no", "field": "glob"}, "/a"), Invalid)
