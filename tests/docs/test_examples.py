"""What pages say is typed and printed, is: every console block is run against a real server, every Python block too."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import NOWHERE, Server, serving
from tests.docs.console import Bash, Example, examples_of

DOCS = Path(__file__).parents[2] / "docs"
BIN = Path(sys.executable).parent
HERE = "127.0.0.1:8000"
PAGES = ("first-steps.md", "sandboxes.md")
# What these print is of a machine that is at work, or that lacks something.
ELSEWHERE = {"insight.md", "hosts.md"}
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
WAIT_S = 60


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    data = tmp_path_factory.mktemp("examples") / "data"
    return {
        **{name: value for name, value in os.environ.items() if not name.endswith(("_proxy", "_PROXY"))},
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "COLUMNS": "200",
        "LM_SANDBOX_DATA_DIR": str(data),
        "LM_SANDBOX_UPSTREAM__OLLAMA_URL": NOWHERE,
        "LM_SANDBOX_UPSTREAM__LMSTUDIO_URL": NOWHERE,
        "LM_SANDBOX_SANDBOX__WARM": "0",
    }


@pytest.fixture(scope="module")
def server(env: dict[str, str]) -> Iterator[Server]:
    with serving(env) as (_, started):
        yield started


def there(server: Server, text: str) -> str:
    """Puts the server's own address into what pages say of one at the usual place."""
    at = server.url.removeprefix("http://")
    return text.replace(HERE, at).replace("localhost:8000", at)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_print_what_it_says(
    page: str, server: Server, env: dict[str, str], tmp_path: Path
) -> None:
    examples = examples_of((DOCS / page).read_text())
    assert len(examples) > 10
    with Bash.started(tmp_path, env) as bash:
        for example in examples:
            printed = bash.type(there(server, example.command))
            assert example.matches(printed), (
                f"{example.command}\nprinted\n{printed}instead of\n{example.printed}"
            )


@pytest.mark.parametrize("page", PAGES)
def test_the_programs_of_a_page_run(page: str, server: Server, env: dict[str, str]) -> None:
    for program in PYTHON.findall((DOCS / page).read_text()):
        done = subprocess.run(
            [sys.executable, "-c", there(server, program)], env=env | {"KEY": server.key}, capture_output=True,
            text=True, check=False, timeout=WAIT_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


def test_every_block_that_looks_typed_is_run() -> None:
    for page in DOCS.glob("*.md"):
        for kind, block in re.findall(r"^```(\S*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
            typed = block.startswith("$ ") and kind != "console"
            assert not typed or page.name in ELSEWHERE, f"{page.name}: {block}"


def test_an_example_that_prints_something_else_is_found_out() -> None:
    assert Example("", "a sb_0123456789 ...c\n").matches("a sb_aaaaaaaa0 b c\n")
    assert not Example("", "a\n").matches("b\n")
    assert not Example("", "a.b\n").matches("axb\n")
