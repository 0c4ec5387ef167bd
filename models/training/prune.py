"""What magnitude pruning of the language model's feed-forward layers would cost a domain: accuracy and loss on its validation parts, by share.

    python prune.py --domain crops --data DATA --checkpoint efficientnet-lite0.pth --language SmolLM2.gguf --output OUT \
                    --trained DOMAIN.safetensors --start DOMAIN.safetensors

Once whole neurons go (rows of gate and up with their column of down, least product of norms first), once single weights, least first.
Nothing is trained afterwards. OUT may be see.py's, whose caches it uses.
"""

import copy
import json

import torch

import answer
import language
import see
import sight

SHARES = (0.05, 0.1, 0.25, 0.5)


def shipped_reader(options):
    """Returns (reader, words, material) with connector and adapters of the domain's file."""
    material = see.Material(options)
    settings, tensors = language.read(options.language)
    reader = answer.Reader(language.Language(settings, tensors), torch.zeros(sight.CELL_VALUES), torch.ones(sight.CELL_VALUES))
    see.start_as(reader, options.start)
    return reader.eval(), answer.Words(language.tokenizer(settings), material.labels), material


def without_neurons(layer, share):
    """Zeroes the share of the layer's neurons whose weights are least."""
    neurons = layer.down.shape[1]
    gate, up = layer.gate_up.split(neurons)
    strength = gate.norm(dim=1) * up.norm(dim=1) * layer.down.norm(dim=0)
    least = strength.argsort()[: round(share * neurons)]
    layer.down[:, least] = 0


def without_weights(layer, share):
    """Zeroes the share of the weights of each matrix that are least."""
    for matrix in (layer.gate_up, layer.down):
        limit = matrix.abs().flatten().kthvalue(max(1, round(share * matrix.numel()))).values
        matrix[matrix.abs() <= limit] = 0


def main():
    chosen = see.options(__doc__)
    torch.set_num_threads(chosen.threads)
    reader, words, material = shipped_reader(chosen)
    print("whole", json.dumps(see.validate(reader, words, material)), flush=True)
    for prune in (without_neurons, without_weights):
        for share in SHARES:
            pruned = copy.deepcopy(reader)
            for layer in pruned.language.layers:
                prune(layer, share)
            print(f"{prune.__name__} {share}", json.dumps(see.validate(pruned, words, material)), flush=True)


if __name__ == "__main__":
    main()
