"""What MkDocs builds besides the files of this folder: pages made from the code, and those of the repository's root."""

import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).parent))

from reference import cli_page, http_page  # noqa: E402 - it stands beside this file

ROOTS = {
    "security.md": "SECURITY.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "benchmarks.md": "benchmarks/README.md",
}
LINK = re.compile(r"\[([^\]]+)\]\((?!https?://|#|mailto:)([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    made = {"cli.md": cli_page(), "http.md": http_page()}
    made |= {page: _relinked((ROOT / source).read_text()) for page, source in ROOTS.items()}
    for page, content in made.items():
        files.append(File.generated(config, page, content=content))
    return files


def _relinked(text: str) -> str:
    """Lets links to pages lead there; what else a repository has is named and not linked."""

    def lead(link: re.Match[str]) -> str:
        target = link[2].removeprefix("../")
        page = {source: page for page, source in ROOTS.items()}.get(target)
        if target.startswith("docs/"):
            page = target.removeprefix("docs/")
        return f"[{link[1]}]({page})" if page else link[1]

    return LINK.sub(lead, text)
