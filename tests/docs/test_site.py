"""The site is built, with no link that leads nowhere, and loads nothing from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder], cwd=ROOT,
        capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_of_the_folder_is_in_the_navigation(site: Path) -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    named = {page for part in config["nav"] for pages in part.values() for page in pages}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} <= named
    for page in named - {"index.md"}:
        assert (site / page.removesuffix(".md") / "index.html").is_file()


def test_pages_are_made_from_the_code(site: Path) -> None:
    assert "lm-sandbox sandbox create" in (site / "cli/index.html").read_text()
    assert "/v1/sandboxes/{sandbox_id}/commands" in (site / "http/index.html").read_text()
    assert "What a sandbox promises" in (site / "security/index.html").read_text()


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        loaded = re.findall(r"<(?:script|img|iframe)[^>]+src=\"?(https?:[^\">\s]+)", text)
        loaded += re.findall(r"<link[^>]+rel=\"?stylesheet\"?[^>]+href=\"?(https?:[^\">\s]+)", text)
        assert not loaded, page
