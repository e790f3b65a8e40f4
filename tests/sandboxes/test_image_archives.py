"""Images as archives: what is unpacked of good ones and refused of hostile ones."""

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest

from lm_sandbox.errors import Conflict, ImageNotFound, Invalid, NoCapacity
from lm_sandbox.sandboxes.image_archive import Content, unpack_image
from lm_sandbox.sandboxes.image_layers import Unpacking
from lm_sandbox.sandboxes.limits import MIB
from tests.sandboxes.imaged import entry, every_file, store_in, tar_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
DIR, LINK, HARD, FIFO, CHR = (
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.FIFOTYPE,
    tarfile.CHRTYPE,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    made.mkdir()
    return made


def apply(root: Path, *layers: bytes, most_bytes: int = MIB) -> Unpacking:
    unpacking = Unpacking(root, most_bytes)
    for layer in layers:
        unpacking.apply(io.BytesIO(layer))
    return unpacking


def blobs_of(*contents: bytes) -> dict[str, bytes]:
    return {f"blobs/sha256/{hashlib.sha256(content).hexdigest()}": content for content in contents}


def layout(*layers: bytes, env: tuple[str, ...] = (), wrong: dict[str, bytes] | None = None) -> bytes:
    """Packs an OCI image layout; `wrong` is put in the place of what should be there."""
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": env}}).encode()
    described = [{"digest": f"sha256:{hashlib.sha256(layer).hexdigest()}"} for layer in layers]
    manifest = json.dumps(
        {"config": {"digest": f"sha256:{hashlib.sha256(config).hexdigest()}"}, "layers": described}
    ).encode()
    index = {"manifests": [{"digest": f"sha256:{hashlib.sha256(manifest).hexdigest()}"}]}
    files = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps(index).encode(),
        **blobs_of(config, manifest, *layers),
        **(wrong or {}),
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            made = tarfile.TarInfo(name)
            made.size = len(content)
            tar.addfile(made, io.BytesIO(content))
    return packed.getvalue()


def unpack(root: Path, archive: bytes) -> Content:
    path = root.parent / "archive"
    path.write_bytes(archive)
    return unpack_image(path, root, MIB)


def test_files_folders_and_links_are_as_in_the_archive(root: Path) -> None:
    own = entry("etc/file", mode=0o640)
    own.uid, own.gid, own.mtime = 33, 34, 1_000_000_000
    apply(root, tar_of(entry("etc", DIR), own, entry("etc/hard", HARD, "etc/file"), entry("lib", LINK, "/usr/lib"),
                       entry("usr/lib", DIR), entry("lib/deep/x"), entry("pipe", FIFO), entry("./dot/", DIR)))  # fmt: skip
    status = (root / "etc/file").lstat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777, status.st_nlink) == (33, 34, 0o640, 2)
    assert status.st_mtime == 1_000_000_000
    assert (root / "lib").readlink() == Path("/usr/lib")
    assert (root / "usr/lib/deep/x").read_bytes() == b"content\n"
    assert stat.S_ISFIFO((root / "pipe").lstat().st_mode)
    assert (root / "dot").is_dir()


def test_whiteouts_remove_what_lower_layers_have_and_nothing_else(root: Path) -> None:
    lower = tar_of(entry("a/one"), entry("a/two"), entry("b/three"), entry("b/deep/four"), entry("c/five"))
    upper = tar_of(
        entry("a/.wh.one"), entry("b/new"), entry("b/.wh..wh..opq"), entry(".wh.c"), entry(".wh.never")
    )
    apply(root, lower, upper)
    assert sorted(str(path.relative_to(root)) for path in every_file(root)) == ["a", "a/two", "b", "b/new"]


def test_a_later_layer_replaces_files_by_folders_and_folders_by_links(root: Path) -> None:
    lower = tar_of(entry("x"), entry("d/y"))
    apply(root, lower, tar_of(entry("x", DIR), entry("x/in"), entry("d", LINK, "x")))
    assert (root / "x/in").is_file()
    assert (root / "d").readlink() == Path("x")


@pytest.mark.parametrize(
    "layer",
    [
        [entry("../evil")],
        [entry("/../evil")],
        [entry("a/../../evil")],
        [entry("a/.wh...")],
        [entry(".wh..")],
        [entry("x", HARD, "../../secret")],
        [entry("/".join(["d"] * 300))],
    ],
)
def test_a_path_that_leads_out_is_refused(root: Path, layer: list[tarfile.TarInfo]) -> None:
    (root.parent / "secret").write_text("secret")
    with pytest.raises(Invalid, match="hostile"):
        apply(root, tar_of(*layer))
    assert not (root.parent / "evil").exists()


@pytest.mark.parametrize(
    "target", ["{outside}", "../outside", "/../../outside", "../../../../../../{outside}"]
)
@pytest.mark.parametrize("layers", [1, 2])
def test_a_link_leads_nowhere_out_for_what_follows_it(root: Path, target: str, layers: int) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    first = [entry("out", LINK, target.format(outside=outside))]
    then = [entry("out/evil"), entry("out/.wh.kept"), entry("out/folder", DIR), entry("out/link", LINK, "x")]
    tars = [tar_of(*first, *then)] if layers == 1 else [tar_of(*first), tar_of(*then)]
    # What is followed is not there below the root.
    with suppress(OSError):
        apply(root, *tars)
    assert [path.name for path in outside.iterdir()] == ["kept"]


def test_a_hard_link_gets_nothing_of_the_host(root: Path) -> None:
    secret = root.parent / "secret"
    secret.write_text("secret")
    for target in (str(secret), "out/secret"):
        with pytest.raises(OSError, match="No such file"):
            apply(root, tar_of(entry("out", LINK, str(root.parent)), entry("got", HARD, target)))
    assert secret.lstat().st_nlink == 1


def test_devices_and_what_changes_the_user_are_left_out(root: Path) -> None:
    sent = [
        entry("null", CHR),
        entry("disk", tarfile.BLKTYPE),
        entry("su", mode=0o6755),
        entry("d", DIR, mode=0o2775),
    ]
    far = entry("far")
    far.uid = far.gid = 2_000_000_000
    named = entry("caps")
    named.pax_headers = {"SCHILY.xattr.security.capability": "x", "SCHILY.xattr.trusted.overlay.opaque": "y"}
    apply(root, tar_of(*sent, far, named))
    assert sorted(path.name for path in every_file(root)) == ["caps", "d", "far", "su"]
    assert not [path for path in every_file(root) if path.lstat().st_mode & 0o6000 or os.listxattr(path)]
    assert (root / "far").lstat().st_uid == 65534


def test_more_than_there_is_room_for_is_refused(root: Path) -> None:
    with pytest.raises(NoCapacity):
        apply(root, tar_of(entry("a"), entry("b")), most_bytes=1500)
    large = gzip.compress(tar_of(entry("zeros"), content=bytes(4 * MIB)))
    with pytest.raises(NoCapacity):
        apply(root, large)


def test_a_layout_is_unpacked_with_its_variables(root: Path) -> None:
    layers = (tar_of(entry("a"), entry("b")), gzip.compress(tar_of(entry(".wh.a"))))
    env = ("PATH=/opt/bin:/bin", "HOME=/evil", "PYTHON_VERSION=3.12", "1BAD=x", "NUL=\0")
    content = unpack(root, layout(*layers, env=env))
    assert [path.name for path in every_file(root)] == ["b"]
    assert content.env == {"PATH": "/opt/bin:/bin", "PYTHON_VERSION": "3.12"}
    assert len(content.digest) == 64


def test_an_index_of_several_machines_is_followed_to_this_one(root: Path) -> None:
    inner = layout(tar_of(entry("mine")))
    with tarfile.open(fileobj=io.BytesIO(inner)) as tar:
        files = {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]
    manifests = json.loads(files["index.json"])["manifests"]
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    index = json.dumps(
        {
            "manifests": [
                {"digest": f"sha256:{'0' * 64}", "platform": {"architecture": "s390x"}},
                {**manifests[0], "platform": {"architecture": machine}},
            ]
        }
    ).encode()
    outer = {"manifests": [{"digest": f"sha256:{hashlib.sha256(index).hexdigest()}"}]}
    unpack(
        root,
        layout(tar_of(entry("mine")), wrong={"index.json": json.dumps(outer).encode(), **blobs_of(index)}),
    )
    assert [path.name for path in every_file(root)] == ["mine"]


def test_what_docker_save_writes_is_unpacked(root: Path) -> None:
    layer, config = tar_of(entry("a")), b'{"config": {"Env": ["A=b"]}}'
    manifest = json.dumps([{"Config": "config.json", "Layers": ["1/layer.tar"]}]).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in {"manifest.json": manifest, "config.json": config, "1/layer.tar": layer}.items():
            made = tarfile.TarInfo(name)
            made.size = len(content)
            tar.addfile(made, io.BytesIO(content))
    assert unpack(root, packed.getvalue()).env == {"A": "b"}
    assert [path.name for path in every_file(root)] == ["a"]


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_root_file_system_is_unpacked(root: Path, compress: type[bytes]) -> None:
    content = unpack(root, compress(tar_of(entry("bin/sh"))))
    assert (root / "bin/sh").is_file()
    assert content.env == {}


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"no archive at all",
        gzip.compress(b"neither", mtime=0),
        tar_of(entry("a"))[:700],
        layout(b"no layer"),
        layout(tar_of(entry("a")), wrong={"index.json": b"{}"}),
        layout(tar_of(entry("a")), wrong={"index.json": b"[1]"}),
        layout(tar_of(entry("a")), wrong={"index.json": b'{"manifests": [{"digest": "../../etc/passwd"}]}'}),
        layout(
            tar_of(entry("a")),
            wrong={"index.json": b'{"manifests": [{"digest": "sha256:' + b"1" * 64 + b'"}]}'},
        ),
        layout(
            tar_of(entry("a")),
            wrong={f"blobs/sha256/{hashlib.sha256(tar_of(entry('a'))).hexdigest()}": b"other"},
        ),
        layout(b"\x28\xb5\x2f\xfd zstd"),
    ],
    ids=range(11),
)
def test_what_is_no_image_is_refused_with_a_reason(root: Path, archive: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        unpack(root, archive)
    assert str(root.parent) not in caught.value.message


def test_a_store_keeps_lists_and_removes_images(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    place = store.place()
    (place / "archive").write_bytes(tar_of(entry("a")))
    image = store.add("debian-12", place / "archive", place)
    assert store.find("debian-12") == image
    assert store.all() == [image]
    assert [path.name for path in store.root_of(image).iterdir()] == ["a"]
    assert (tmp_path / "images").stat().st_mode & 0o077 == 0
    with pytest.raises(Conflict):
        store.check_name("debian-12")
    for name in ("", "..", "a/b", "A", "new.x", "x" * 65, ".hidden"):
        assert store.find(name) is None
        with pytest.raises(Invalid):
            store.check_name(name)
    store.remove("debian-12")
    assert not list((tmp_path / "images").iterdir())
    with pytest.raises(ImageNotFound):
        store.remove("debian-12")
