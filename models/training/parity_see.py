"""Prints the losses of a few steps of teaching the language model to look at made pictures, which `loupe train --speak` has to reach:
models/src/visual_tuning/tests.rs.

    python parity_see.py --language SmolLM2-135M-Instruct.Q4_1.gguf
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch

import answer
import domain
import language
import see
import sight

PICTURES, CELLS, STEPS = 4, 6, 6
LABELS = [("cast lid", "good"), ("cast lid", "bent pin"), ("tomato leaf", "early blight")]
# Cells that the second step sees.
FEW_CELLS = [0, 2, 3]


class Options:
    """What `see.py` is told on its command line."""

    connector_rate, adapter_rate, rounds, steps = 2e-3, 1e-2, 1, STEPS


def made(rows, cols, seed):
    """Returns f32 `[rows, cols]` between -0.5 and 0.5."""
    row, col = np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij")
    return torch.from_numpy((((row * 13 + col * 5 + seed * 3) % 31 - 15) / 31).astype(np.float32))


def reader_of(path):
    """Returns (reader, words) with a made connector and made first factors of the updates."""
    settings, tensors = language.read(path)
    labels = [domain.Label(finding, "made", subject, finding, None) for subject, finding in LABELS]
    words = answer.Words(language.tokenizer(settings), labels)
    reader = answer.Reader(language.Language(settings, tensors), torch.zeros(sight.CELL_VALUES), torch.ones(sight.CELL_VALUES))
    reader.connector.weight.data = made(*reader.connector.weight.shape, 1) * 0.05
    reader.connector.bias.data = made(1, len(reader.connector.bias), 2)[0]
    for index, layer in enumerate(reader.language.layers):
        for part in (layer.qkv, layer.output):
            rank, inputs = part.down.shape
            part.down.data = made(rank, inputs, index) / math.sqrt(inputs)
    return reader, words


def lesson(picture, question, kept):
    cells = made(CELLS, sight.CELL_VALUES, 7 * picture)[kept]
    return answer.Lesson(cells, torch.tensor(kept), CELLS, domain.QUESTIONS[question], picture % len(LABELS))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", type=Path, required=True)
    reader, words = reader_of(parser.parse_args().language)
    run = see.Run(reader, Options)
    every = list(range(CELLS))
    losses = []
    for step in range(STEPS):
        # Three of the four, others at each step.
        kept = FEW_CELLS if step == 1 else every
        losses.append(see.train_step(run, words, [lesson((step + p) % PICTURES, (step + p) % 4, kept) for p in range(3)]))
    print(", ".join(f"{loss:.5f}" for loss in losses))
    reader.load_state_dict(run.average)
    with torch.inference_mode():
        print(f"averaged weights: {answer.answer_loss(reader, words, [lesson(p, 0, every) for p in range(PICTURES)]):.5f}")


if __name__ == "__main__":
    main()
