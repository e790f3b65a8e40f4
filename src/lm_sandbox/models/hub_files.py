"""Which files of a repository on the Hugging Face hub are a model: pure policy."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from lm_sandbox.errors import Invalid

HUB = "hf:"
PREFERRED = ("Q4_K_M", "Q8_0")
_SOURCE = re.compile(r"hf:([\w][\w.-]{0,95})/([\w][\w.-]{0,95})(?::([\w.-]{1,96}))?", re.ASCII)
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
# Whose names they are is not known: they must not lead out of a folder.
_SAFE = re.compile(r"(?:[\w-][\w.+ -]*/)*[\w-][\w.+ -]*\.gguf")
HOW = "Write it as hf:owner/repo or hf:owner/repo:Q4_K_M."


@dataclass(frozen=True, slots=True)
class HubSource:
    """A model on the hub; without a quantisation a middling one is taken."""

    repo: str
    quant: str | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `hf:owner/repo:quant`.

        Raises:
            Invalid: it is none.
        """
        match = _SOURCE.fullmatch(text)
        if match is None or ".." in text:
            raise Invalid(f"{text!r} is no model of the Hugging Face hub. {HOW}", field="source")
        return cls(f"{match[1]}/{match[2]}", match[3])


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository; its size in bytes, 0 where not told, and its checksum, where told."""

    name: str
    size: int
    sha256: str | None


def choose_files(source: HubSource, files: Sequence[HubFile]) -> list[HubFile]:
    """Chooses the file of the quantisation, or all of its parts.

    Raises:
        Invalid: there is none; the message names those that are there.
    """
    models = [file for file in files if _SAFE.fullmatch(file.name) and not _leaf(file).startswith("mmproj")]
    for quant in (source.quant,) if source.quant else (*PREFERRED, ""):
        # The name of a quantisation is a word of its own: Q4_0 is not in IQ4_0 or Q4_0_8.
        word = re.compile(rf"(?:^|[-./]){re.escape(quant)}(?=[-.]|/|$)", re.IGNORECASE)
        matching = [file for file in models if not quant or word.search(file.name)]
        if matching:
            return _with_parts(min(matching, key=lambda file: (len(file.name), file.name)), models)
    there = ", ".join(sorted(_leaf(file) for file in models)) or "none"
    wanted = f" of {source.quant}" if source.quant else ""
    raise Invalid(f"{source.repo} has no GGUF file{wanted}. There are: {there}.", field="source")


def _with_parts(first: HubFile, files: Sequence[HubFile]) -> list[HubFile]:
    part = _PART.search(first.name)
    if part is None:
        return [first]
    head = first.name[: part.start()]
    ending = f"-of-{part[2]}.gguf"
    found = [file for file in files if file.name.startswith(head + "-") and file.name.endswith(ending)]
    if len(found) != int(part[2]):
        raise Invalid(f"The repository has {len(found)} of the {int(part[2])} parts.", field="source")
    return sorted(found, key=lambda file: file.name)


def _leaf(file: HubFile) -> str:
    return file.name.rpartition("/")[2]
