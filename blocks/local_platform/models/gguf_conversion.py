"""From a GGUF file of the Llama family to the folder that transformers loads: safetensors, config, tokenizer.

transformers can read GGUF too, but takes half a minute for 135M parameters, most of it reading the vocabulary three
times; this takes a few seconds and no torch. The weights of both are the same to the last bit; the tokenizer differs in
splitting digits one by one, as the model was trained.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flywheel.errors import ConfigError
from flywheel.progress import Progress

if TYPE_CHECKING:
    from gguf import GGUFReader

STAGE = "convert model"

LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OTHER_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def convert(source: Path, target: Path, progress: Progress) -> None:
    """Write model.safetensors (bfloat16), config, tokenizer and chat template into the existing folder `target`.

    Raises: ConfigError where the file is not a Llama-like model with a byte-level BPE tokenizer.
    """
    from gguf import GGUFReader

    progress(STAGE, 0, None, "reading the file")
    reader = GGUFReader(source)
    fields: dict[str, Any] = dict(reader.fields)
    if _value(fields, "general.architecture") != "llama" or _value(fields, "tokenizer.ggml.model") != "gpt2":
        raise ConfigError(f"{source.name} is not a Llama-like model; give a folder with safetensors instead.")
    _write_weights(reader, target, progress)
    _write_configuration(fields, target, tied=not any(t.name == "output.weight" for t in reader.tensors))
    _write_tokenizer(fields, target)


def _write_weights(reader: GGUFReader, target: Path, progress: Progress) -> None:
    from gguf import dequantize

    heads = {
        "attn_q": _value(reader.fields, "llama.attention.head_count"),
        "attn_k": _value(reader.fields, "llama.attention.head_count_kv"),
    }
    tensors: dict[str, npt.NDArray[np.uint16]] = {}
    for number, tensor in enumerate(reader.tensors):
        progress(STAGE, number, len(reader.tensors), "weights")
        weight = np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        weight = weight.reshape([int(size) for size in reversed(tensor.shape)])
        part = tensor.name.split(".")[-2]
        if part in heads:
            weight = _undo_rotary_permutation(weight, heads[part])
        tensors[_weight_name(tensor.name)] = to_bfloat16(weight)
    _write_safetensors(tensors, target / "model.safetensors")
    progress(STAGE, len(reader.tensors), len(reader.tensors), "weights")


def _write_safetensors(tensors: dict[str, npt.NDArray[np.uint16]], path: Path) -> None:
    """The format is a length, a JSON header and the bytes; the library's writer takes bfloat16 from torch alone."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, bits in tensors.items():
        start, end = end, end + bits.nbytes
        header[name] = {"dtype": "BF16", "shape": list(bits.shape), "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little"))
        file.write(encoded)
        for bits in tensors.values():
            file.write(bits.astype("<u2", copy=False).tobytes())


def to_bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The bits of the nearest bfloat16, ties to even, which numpy has no type for. Finite input only."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


def _undo_rotary_permutation(weight: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """GGUF interleaves the two halves of each head for its way of rotating; shape (heads * size, width)."""
    size = weight.shape[0] // heads
    return weight.reshape(heads, size // 2, 2, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def _weight_name(name: str) -> str:
    if name in OTHER_NAMES:
        return OTHER_NAMES[name]
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.{kind}"


def _write_configuration(fields: dict[str, Any], target: Path, *, tied: bool) -> None:
    width, heads = _value(fields, "llama.embedding_length"), _value(fields, "llama.attention.head_count")
    ids = {
        "bos_token_id": _value(fields, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": _value(fields, "tokenizer.ggml.eos_token_id"),
        "pad_token_id": _value(fields, "tokenizer.ggml.padding_token_id"),
    }
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": width,
        "intermediate_size": _value(fields, "llama.feed_forward_length"),
        "num_hidden_layers": _value(fields, "llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": _value(fields, "llama.attention.head_count_kv"),
        "head_dim": width // heads,
        "max_position_embeddings": _value(fields, "llama.context_length"),
        "rms_norm_eps": _value(fields, "llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": _value(fields, "llama.rope.freq_base"),
        "vocab_size": len(fields["tokenizer.ggml.tokens"].data),
        "tie_word_embeddings": tied,
        "attention_bias": False,
        "mlp_bias": False,
        "torch_dtype": "bfloat16",
        **ids,
    }
    _write(target / "config.json", config)
    _write(target / "generation_config.json", ids)


def _write_tokenizer(fields: dict[str, Any], target: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens: list[str] = fields["tokenizer.ggml.tokens"].contents()
    kinds: list[int] = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    # The "smollm" way of splitting, which the vocabulary was made with: each digit stands alone.
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    control = 3  # GGUF's token type of control tokens
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == control]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.save(str(target / "tokenizer.json"))
    named = {
        "bos_token": tokens[_value(fields, "tokenizer.ggml.bos_token_id")],
        "eos_token": tokens[_value(fields, "tokenizer.ggml.eos_token_id")],
        "pad_token": tokens[_value(fields, "tokenizer.ggml.padding_token_id")],
        "unk_token": tokens[_value(fields, "tokenizer.ggml.unknown_token_id")],
    }
    length = _value(fields, "llama.context_length")
    _write(
        target / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": length, **named},
    )
    template = fields.get("tokenizer.chat_template")
    if template is not None:
        (target / "chat_template.jinja").write_text(template.contents(), encoding="utf-8")


def _value(fields: dict[str, Any], name: str) -> Any:
    field = fields.get(name)
    if field is None:
        raise ConfigError(f"The GGUF file lacks {name}; give a folder with safetensors instead.")
    return field.contents()


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
