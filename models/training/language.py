"""SmolLM2 from a GGUF file as PyTorch modules: frozen weights in f32, and low-rank adapters that are trained.

Rows of query and key stay in the file's order, in which rotary embedding turns neighbours.
"""

import math

import gguf
import numpy as np
import tokenizers
import torch
from torch import nn
from torch.nn import functional as F

RANK = 8
CONTROL_TOKEN = 3


def read(path):
    """Returns (settings, tensors) of a GGUF file: values by key, f32 tensors `[outputs, inputs]` by name."""
    reader = gguf.GGUFReader(path)
    settings = {key: field.contents() for key, field in reader.fields.items()}
    tensors = {t.name: torch.from_numpy(np.array(gguf.dequantize(t.data, t.tensor_type), np.float32)) for t in reader.tensors}
    return settings, tensors


def tokenizer(settings):
    """Returns the byte-level BPE of the file; digits are tokens of their own, control tokens are never split."""
    tokens = settings["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in settings["tokenizer.ggml.merges"]]
    result = tokenizers.Tokenizer(tokenizers.models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    split = tokenizers.pre_tokenizers
    result.pre_tokenizer = split.Sequence([split.Digits(individual_digits=True), split.ByteLevel(add_prefix_space=False)])
    result.decoder = tokenizers.decoders.ByteLevel()
    kinds = settings["tokenizer.ggml.token_type"]
    result.add_special_tokens([t for t, kind in zip(tokens, kinds) if kind == CONTROL_TOKEN])
    return result


class Adapted(nn.Module):
    """A frozen linear layer `[outputs, inputs]` and what is added to it: `up (down x)`, at first nothing."""

    def __init__(self, weight):
        super().__init__()
        outputs, inputs = weight.shape
        self.register_buffer("weight", weight, persistent=False)
        self.down = nn.Parameter(torch.randn(RANK, inputs) / math.sqrt(inputs))
        self.up = nn.Parameter(torch.zeros(outputs, RANK))

    def forward(self, x):
        return F.linear(x, self.weight) + F.linear(F.linear(x, self.down), self.up)


class Layer(nn.Module):
    """One block: attention and a gated feed-forward layer, each after a root mean square normalisation."""

    def __init__(self, tensors, heads, epsilon):
        super().__init__()
        self.heads, self.epsilon = heads, epsilon
        self.qkv = Adapted(torch.cat([tensors[f"attn_{part}"] for part in "qkv"]))
        self.output = Adapted(tensors["attn_output"])
        frozen = {"attention_norm": tensors["attn_norm"], "feed_forward_norm": tensors["ffn_norm"], "down": tensors["ffn_down"],
                  "gate_up": torch.cat([tensors["ffn_gate"], tensors["ffn_up"]])}
        for name, value in frozen.items():
            self.register_buffer(name, value, persistent=False)

    def attention(self, x, turns, mask):
        """Returns what attention adds, `[batch, length, hidden]`; without a mask every token sees those before it."""
        (batch, length, hidden), (heads, kv_heads) = x.shape, self.heads
        # batch, length, head, values -> batch, head, length, values
        qkv = self.qkv(x).view(batch, length, heads + 2 * kv_heads, -1).transpose(1, 2)
        query, key, value = qkv.split([heads, kv_heads, kv_heads], 1)
        query, key = turned(query, turns), turned(key, turns)
        key, value = (part.repeat_interleave(heads // kv_heads, 1) for part in (key, value))
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None)
        return self.output(seen.transpose(1, 2).reshape(batch, length, hidden))

    def forward(self, x, turns, mask):
        x = x + self.attention(F.rms_norm(x, x.shape[-1:], self.attention_norm, self.epsilon), turns, mask)
        gate, up = F.linear(F.rms_norm(x, x.shape[-1:], self.feed_forward_norm, self.epsilon), self.gate_up).chunk(2, -1)
        return x + F.linear(F.silu(gate) * up, self.down)


def turned(heads, turns):
    """Returns `[batch, heads, length, head_dim]`, each two neighbouring values turned by cosines and sines that are
    `[length, head_dim / 2]` or `[batch, 1, length, head_dim / 2]`."""
    cos, sin = turns
    left, right = heads[..., 0::2], heads[..., 1::2]
    return torch.stack([left * cos - right * sin, left * sin + right * cos], -1).flatten(-2)


class Language(nn.Module):
    """The decoder. Parameters are the adapters alone; all else is frozen."""

    def __init__(self, settings, tensors):
        super().__init__()
        setting = {key.removeprefix("llama."): value for key, value in settings.items()}
        heads = setting["attention.head_count"], setting["attention.head_count_kv"]
        self.epsilon = setting["attention.layer_norm_rms_epsilon"]
        self.head_dim, self.base = setting["rope.dimension_count"], setting["rope.freq_base"]
        self.register_buffer("embedding", tensors["token_embd.weight"], persistent=False)
        self.register_buffer("norm", tensors["output_norm.weight"], persistent=False)
        self.layers = nn.ModuleList(
            Layer(of_layer(tensors, index), heads, self.epsilon) for index in range(setting["block_count"]))

    def turns(self, positions):
        """Returns cosines and sines, each `[..., length, head_dim / 2]`, of positions `[..., length]`."""
        frequencies = self.base ** (-torch.arange(0, self.head_dim, 2, dtype=torch.float64) / self.head_dim)
        angles = positions.double()[..., None] * frequencies
        return angles.cos().float(), angles.sin().float()

    def forward(self, x, positions=None, mask=None):
        """Returns the normalised last states `[batch, length, hidden]` of embeddings of that shape. `positions`, `[length]` or
        `[batch, 1, length]`, count up from 0 where none are given; `mask` `[length, length]` is true where the row's token sees the column's."""
        turns = self.turns(torch.arange(x.shape[1]) if positions is None else positions)
        for layer in self.layers:
            x = layer(x, turns, mask)
        return F.rms_norm(x, x.shape[-1:], self.norm, self.epsilon)

    def logits(self, states):
        """Returns `[..., vocabulary]` of normalised last states `[..., hidden]`; the head is the embedding table."""
        return F.linear(states, self.embedding)

    def logits_of(self, states, ids):
        """Returns the logits of some tokens, `[..., ids]`."""
        return F.linear(states, self.embedding[torch.tensor(ids)])


def of_layer(tensors, index):
    """Returns the tensors of a block by their names in it."""
    prefix = f"blk.{index}."
    return {n.removeprefix(prefix).removesuffix(".weight"): t for n, t in tensors.items() if n.startswith(prefix)}
