"""Where volumes may be mounted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_sandbox.errors import Invalid
from lm_sandbox.sandboxes.drivers.bubblewrap.system import FOLDERS, Overlay, System
from lm_sandbox.sandboxes.mounts import TAKEN, AskedMount, admit_mounts, mount_points


def admit(*paths: str) -> None:
    admit_mounts([AskedMount(f"v{number}", path) for number, path in enumerate(paths)])


def refused(*paths: str) -> str | None:
    """Names the field that is refused, if one is."""
    try:
        admit(*paths)
    except Invalid as error:
        return error.field
    return None


@pytest.mark.parametrize("path", ["/data", "/mnt/a/b", "/srv/models", "/opt/x", "/data-1", "/.hidden", "/ä"])
def test_a_place_of_its_own_is_taken(path: str) -> None:
    assert refused(path) is None


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "//",
        "data",
        "/data/",
        "/data/..",
        "/data/../etc",
        "/./data",
        "//data",
        "/data//a",
        "/da\nta",
        "/a\0",
    ],
)
def test_what_is_no_plain_path_is_refused(path: str) -> None:
    with pytest.raises(Invalid, match="no place for a volume") as refused:
        admit("/first", path)
    assert refused.value.field == "mounts.1.path"


@pytest.mark.parametrize("first", sorted(TAKEN))
def test_what_the_sandbox_is_made_of_is_not_hidden(first: str) -> None:
    for path in (f"/{first}", f"/{first}/below"):
        with pytest.raises(Invalid, match="sandbox's own"):
            admit(path)


@pytest.mark.parametrize("paths", [("/a", "/a"), ("/a", "/a/b"), ("/a/b", "/a"), ("/a", "/c", "/a/b/c")])
def test_volumes_are_not_in_one_another(paths: tuple[str, ...]) -> None:
    with pytest.raises(Invalid, match="in one another"):
        admit(*paths)
    admit("/a", "/ab", "/b/a")


@given(st.text(max_size=40))
def test_whatever_is_admitted_is_a_path_below_the_root_that_hides_nothing(text: str) -> None:
    try:
        admit(text)
    except Invalid:
        return
    segments = text.split("/")
    assert segments[0] == ""
    assert segments[1] not in TAKEN
    assert not {"", ".", ".."} & set(segments[1:])
    assert "\0" not in text


def test_each_folder_is_added_to_the_layers_that_it_is_in() -> None:
    assert mount_points(["/mnt/deep/er", "/data"]) == {"mnt", "mnt/deep", "mnt/deep/er", "data"}
    system = System("x", (Overlay("/", ("/lower",), FOLDERS), Overlay("/usr", ("/l",), {"share": 0o755})))
    more = system.with_folders(["data", "usr/local/x"])
    assert more.overlays[0].folders == {**FOLDERS, "data": 0o755}
    assert more.overlays[1].folders == {"share": 0o755, "local/x": 0o755}
    assert system.with_folders([]) is system
