"""Prints the losses of a few steps of training on made pictures, which `loupe train` has to reach: models/src/tuning/tests.rs.

    python parity.py --checkpoint efficientnet-lite0.pth
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import network
import train

PICTURES, CLASSES, WIDTH, HEIGHT = 12, 3, 96, 64
STEPS = 16


class Options:
    """What `train.py` is told on its command line."""

    encoder_rate, head_rate, smoothing, mixing = 2e-4, 1e-2, 0.05, 0.0


def picture(index):
    """Returns a made picture `[height, width, 3]` of bytes."""
    y, x, channel = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), np.arange(3), indexing="ij")
    return ((x * (3 + index) + y * (5 + 2 * index) + channel * 40 + ((x * y) >> 3)) & 255).astype(np.uint8)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--frozen-blocks", type=int, default=5)
    arguments = parser.parse_args()
    checkpoint = torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)
    pictures, labels = np.stack([picture(i) for i in range(PICTURES)]), torch.arange(PICTURES) % CLASSES
    eyes = network.Eyes(checkpoint, {"made": CLASSES}, (arguments.frozen_blocks, "frozen"), dropout_ratio=0.0)
    for values in eyes.heads["made"].parameters():
        torch.nn.init.zeros_(values)
    run = train.Run(eyes, Options)
    run.scheduler = torch.optim.lr_scheduler.LambdaLR(run.optimizer, lambda step: train.learning_rate(step, STEPS))
    losses = []
    for step in range(STEPS):
        # Ten of the twelve, others at each step.
        chosen = [(2 * step + place) % PICTURES for place in range(PICTURES - 2)]
        # NHWC -> NCHW
        pixels = torch.from_numpy(pictures[chosen]).permute(0, 3, 1, 2).float()
        losses.append(train.train_step(run, pixels, labels[chosen], "made", share=1.0))
    print(", ".join(f"{loss:.5f}" for loss in losses))
    logits = run.average.heads["made"](network.features_of(run.average.encoder, pictures))
    print(f"averaged weights: {float(torch.nn.functional.cross_entropy(logits, labels).detach()):.5f}")


if __name__ == "__main__":
    main()
