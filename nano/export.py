"""Writes the model as GGUF in Q8_0, with its tokenizer and chat template.

usage: python -m nano.export, after a training, to write the file again
"""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from nano.dialogue import CUT, SHOWN_CHARACTERS, USER_CHARACTERS
from nano.model import Nano, Shape
from nano.paths import BUILD, PACKAGED
from nano.tokenizer import CONTROL, FRAMES, MARKS, load

# It was trained on short conversations, so it is shown no more than the end of a long one.
KEPT_REQUESTS = 2
TEMPLATE = (
    (
        """
{%- if tools %}{{- '<|im_start|>system\\ntools: bash<|im_end|>\\n' }}{%- endif %}
{%- set asked = namespace(all=0, seen=0) %}
{%- for message in messages %}{%- if message.role == 'user' %}{%- set asked.all = asked.all + 1 %}{%- endif %}{%- endfor %}
{%- for message in messages %}
{%- if message.role == 'user' %}{%- set asked.seen = asked.seen + 1 %}{%- endif %}
{%- if asked.seen > asked.all - KEPT %}
{%- set text = message.content if message.content is string else '' %}
{%- if message.content and message.content is not string %}
{%- set found = namespace(text='') %}
{%- for part in message.content %}{%- if part.text %}{%- set found.text = found.text + part.text %}{%- endif %}{%- endfor %}
{%- set text = found.text %}
{%- endif %}
{%- if message.role == 'user' %}
{{- '<|im_start|>user\\n' + text[:USER] + '<|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' }}
{%- if message.tool_calls %}
{%- for call in message.tool_calls %}
{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}{{- call.function.arguments | tojson }}{{- '}\\n</tool_call>' }}
{%- endfor %}
{%- else %}{{- text }}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- elif message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' }}
{%- if text | length > SHOWN %}{{- text[:SHOWN] + 'CUT' }}{%- else %}{{- text }}{%- endif %}
{{- '\\n</tool_response><|im_end|>\\n' }}
{%- endif %}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
    )
    .strip()
    .replace("SHOWN", str(SHOWN_CHARACTERS))
    .replace("USER", str(USER_CHARACTERS))
    .replace("KEPT", str(KEPT_REQUESTS))
    .replace("CUT", CUT.replace("\n", "\\n"))
)


def export(model: Nano, shape: Shape, tokenizer: Tokenizer, path: Path) -> None:
    """Writes the file.

    Args:
        model: The trained weights.
        shape: Its sizes.
        tokenizer: As trained.
        path: Where to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(str(path), "llama")
    _describe(writer, shape)
    _add_tokenizer(writer, tokenizer)
    for name, weight in model.state_dict().items():
        _add_tensor(writer, name, weight.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name("nano")
    writer.add_author("the lm-sandbox authors")
    writer.add_license("Apache-2.0")
    writer.add_description("A tiny demo model that turns simple requests into shell commands.")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e4)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_vocab_size(shape.vocab)
    writer.add_chat_template(TEMPLATE)
    writer.add_float32("general.sampling.temp", 0.0)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    model = json.loads(tokenizer.to_str())["model"]
    vocab: dict[str, int] = model["vocab"]
    kinds = dict.fromkeys(CONTROL, gguf.TokenType.CONTROL)
    kinds |= dict.fromkeys(MARKS + FRAMES, gguf.TokenType.USER_DEFINED)
    tokens = sorted(vocab, key=lambda token: vocab[token])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([kinds.get(token, gguf.TokenType.NORMAL) for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_eos_token_id(vocab["<|im_end|>"])
    writer.add_bos_token_id(vocab["<|endoftext|>"])
    writer.add_pad_token_id(vocab["<|endoftext|>"])
    writer.add_add_bos_token(False)


def _add_tensor(writer: gguf.GGUFWriter, name: str, weight: NDArray[np.float32]) -> None:
    if weight.ndim == 1:
        writer.add_tensor(name, weight)
        return
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)


def main() -> None:
    """Writes the trained weights again, as after a change of the chat template."""
    tokenizer = load(BUILD / "tokenizer.json")
    shape = Shape(vocab=tokenizer.get_vocab_size())
    model = Nano(shape)
    model.load_state_dict(torch.load(BUILD / "nano.pt"))
    export(model, shape, tokenizer, PACKAGED)


if __name__ == "__main__":
    main()
