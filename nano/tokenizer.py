"""The tokenizer: byte-level BPE whose merges never cross from a sign or space into a word.

So a name is cut the same way after a space, a slash or a quote, and copying it is easy to learn.
Whole words of the phrases get a second token with the space before them.
"""

import json
import re
from collections import Counter
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MARKS = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
# What stands around every command, as one token each.
FRAMES = [
    "user\n<tool_response>\n",
    "\n</tool_response>",
    "[no output]",
    "[exit code ",
    '\n{"name": "bash", "arguments": {"command": "',
    '"}}\n',
    "assistant\n",
    "system\ntools: bash",
]
# The pattern that llama.cpp uses for the pre-tokenizer named `qwen2`.
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPACE = "Ġ"
WORD_TOKENS = 1100
# How often a merge has to occur.
LEAST = 60


def train(texts: list[str], path: Path, *, size: int = 1600) -> Tokenizer:
    """Learns the merges and writes the tokenizer.

    Args:
        texts: What to learn from: requests and answers without names, so that their words become one
            token each and random names are cut into small pieces.
        path: Where to write it, as JSON.
        size: Tokens before the words with their spaces.
    """
    base = Tokenizer(models.BPE())
    base.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{L}+|\p{N}|[^\p{L}\p{N}]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=LEAST,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    plain = [re.sub("|".join(map(re.escape, CONTROL + MARKS + FRAMES)), "\n", text) for text in texts]
    base.train_from_iterator(plain, trainer)
    model = json.loads(base.to_str())["model"]
    vocab = sorted(model["vocab"], key=model["vocab"].get)
    merges = [tuple(pair) for pair in model["merges"]]
    merges += [(SPACE, word) for word in _words(plain, set(vocab))]
    tokens = [*vocab, *(a + b for a, b in merges if a == SPACE)]
    tokenizer = _assemble(tokens, merges)
    tokenizer.save(str(path))
    return tokenizer


def load(path: Path) -> Tokenizer:
    """Reads a tokenizer that `train` wrote."""
    return Tokenizer.from_file(str(path))


def _words(texts: list[str], vocab: set[str]) -> list[str]:
    counts = Counter(word for text in texts for word in re.findall(r" ([A-Za-z]+)", text))
    return [word for word, _ in counts.most_common() if word in vocab and len(word) > 1][:WORD_TOKENS]


def _assemble(tokens: list[str], merges: list[tuple[str, str]]) -> Tokenizer:
    special = CONTROL + MARKS + FRAMES
    ordered = special + [token for token in tokens if token not in special]
    vocab = {token: index for index, token in enumerate(ordered)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    return tokenizer
