"""Fine-tunes one encoder and a linear head per task; survives a kill and goes on where it stopped.

    python train.py --data DATA --checkpoint efficientnet-lite0.pth --output DIR

Heads start as linear probes of the frozen features (arXiv 2202.10054), so that the first steps do not spoil the encoder.
"""

import argparse
import copy
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

import augment
import data
import domain
import measure
import network

BATCH = 24
WARM_UP_STEPS = 40
EMA_DECAY = 0.98
WEIGHT_DECAY = 0.02
DROPOUT_RATIO = 0.2
GRADIENT_NORM = 2.0
PROBE_PENALTY = 1e-3


def batches(pictures_by_task, random):
    """Returns one epoch of (task, indices), class-balanced, tasks mixed."""
    steps = []
    for task, pictures in pictures_by_task.items():
        train = pictures.where(data.TRAIN)
        by_class = [train[pictures.labels[train] == label] for label in range(len(pictures.classes))]
        draws = math.ceil(len(train) / len(by_class))
        order = np.concatenate([np.resize(random.permutation(members), draws) for members in by_class])
        order = random.permutation(order)
        steps += [(task, order[i : i + BATCH]) for i in range(0, len(order) - BATCH // 2, BATCH)]
    return [steps[i] for i in random.permutation(len(steps))]


def start_heads(eyes, pictures_by_task):
    for task, pictures in pictures_by_task.items():
        train = pictures.where(data.TRAIN)
        features = network.features_of(eyes.encoder, pictures.inputs[train])
        labels = torch.from_numpy(pictures.labels[train])
        weight, bias = measure.probe(features, labels, len(pictures.classes), PROBE_PENALTY)
        eyes.heads[task].weight.data.copy_(weight)
        eyes.heads[task].bias.data.copy_(bias)


def validate(eyes, pictures_by_task):
    """Returns {task: (accuracy, loss)} on the validation parts."""
    eyes.eval()
    result = {}
    for task, pictures in pictures_by_task.items():
        chosen = pictures.where(data.VALIDATION)
        labels = torch.from_numpy(pictures.labels[chosen])
        with torch.no_grad():
            logits = eyes.heads[task](network.features_of(eyes.encoder, pictures.inputs[chosen]))
        result[task] = (float((logits.argmax(1) == labels).float().mean()), float(F.cross_entropy(logits, labels)))
    return result


def learning_rate(step, steps):
    """Returns the share of the full rate: linear warm-up, then a cosine."""
    rise = min(1.0, (step + 1) / WARM_UP_STEPS)
    return rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def make_optimizer(eyes, options):
    encoder = [p for p in eyes.encoder.parameters() if p.requires_grad]
    groups = [{"params": encoder, "lr": options.encoder_rate}, {"params": list(eyes.heads.parameters()), "lr": options.head_rate}]
    return torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)


class Run:
    """Everything that a checkpoint holds."""

    def __init__(self, eyes, options):
        self.eyes, self.options = eyes, options
        self.average = copy.deepcopy(eyes)
        self.optimizer = make_optimizer(eyes, options)
        self.scheduler = None
        self.epoch, self.best_loss, self.history = 0, math.inf, []

    def schedule(self, steps_per_epoch):
        total = steps_per_epoch * self.options.epochs
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: learning_rate(step, total))

    def save(self, path):
        state = {name: getattr(self, name).state_dict() for name in ("eyes", "average", "optimizer", "scheduler")}
        facts = {"epoch": self.epoch, "best_loss": self.best_loss, "history": self.history, "options": self.facts()}
        write(path, {**state, **facts})

    def facts(self):
        """Returns the options without the paths, which are nobody else's."""
        return {name: value for name, value in vars(self.options).items() if not isinstance(value, Path)}

    def load(self, path):
        state = torch.load(path, map_location="cpu", weights_only=True)
        for name in ("eyes", "average", "optimizer", "scheduler"):
            getattr(self, name).load_state_dict(state[name])
        self.epoch, self.best_loss, self.history = state["epoch"], state["best_loss"], state["history"]


def write(path, state):
    """Writes beside and renames: a kill or a full disk leaves the old checkpoint."""
    beside = path.with_suffix(".partial")
    torch.save(state, beside)
    os.replace(beside, path)


def mixed_loss(run, pixels, labels, task, share):
    """Returns the loss of each picture blended with another of the batch (mixup, arXiv 1710.09412); `share` is its own."""
    smoothing = run.options.smoothing
    logits = run.eyes(share * pixels + (1 - share) * pixels.flip(0), task)
    own, other = (F.cross_entropy(logits, given, label_smoothing=smoothing) for given in (labels, labels.flip(0)))
    return share * own + (1 - share) * other


def train_step(run, pixels, labels, task, share):
    loss = mixed_loss(run, pixels, labels, task, share)
    run.optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.eyes.parameters(), GRADIENT_NORM)
    run.optimizer.step()
    run.scheduler.step()
    with torch.no_grad():
        for mean, value in zip(run.average.parameters(), run.eyes.parameters()):
            mean.lerp_(value, 1 - EMA_DECAY)
    return float(loss.detach())


def train_epoch(run, pictures_by_task):
    """Returns the mean loss of an epoch. Its randomness depends on seed and epoch alone, so a resumed run is the same run."""
    random = np.random.default_rng([run.options.seed, run.epoch])
    torch.manual_seed(run.options.seed * 1000 + run.epoch)
    run.eyes.train()
    losses, started = [], time.monotonic()
    steps = batches(pictures_by_task, random)
    for done, (task, indices) in enumerate(steps, 1):
        pictures = pictures_by_task[task]
        pixels = augment.augmented(pictures.cached[indices], data.TASKS[task].input_size, random)
        share = random.beta(run.options.mixing, run.options.mixing) if run.options.mixing > 0 else 1.0
        losses.append(train_step(run, pixels, torch.from_numpy(pictures.labels[indices]), task, share))
        if done % 20 == 0:
            left = (time.monotonic() - started) / done * (len(steps) * (run.options.epochs - run.epoch) - done)
            print(f"epoch {run.epoch + 1} of {run.options.epochs}, step {done} of {len(steps)}:"
                  f" loss {np.mean(losses[-20:]):.3f}, {left / 60:.1f} minutes left", flush=True)
    return float(np.mean(losses))


def train(run, pictures_by_task):
    last, best = run.options.output / "last.pt", run.options.output / "best.pt"
    counts = {task: len(pictures.classes) for task, pictures in pictures_by_task.items()}
    while run.epoch < run.options.epochs:
        started = time.monotonic()
        loss = train_epoch(run, pictures_by_task)
        run.epoch += 1
        scores = validate(run.average, pictures_by_task)
        validation_loss = sum(value for _, value in scores.values()) / len(scores)
        seconds = time.monotonic() - started
        run.history.append({"epoch": run.epoch, "loss": loss, "validation": scores, "seconds": seconds})
        print(json.dumps(run.history[-1]), flush=True)
        if validation_loss < run.best_loss:
            run.best_loss = validation_loss
            write(best, {"eyes": run.average.state_dict(), "classes_by_task": counts, "epoch": run.epoch})
        run.save(last)
        since_best = run.epoch - min(run.history, key=lambda e: sum(v for _, v in e["validation"].values()))["epoch"]
        if since_best >= run.options.patience:
            print(f"no better validation loss for {since_best} epochs: done", flush=True)
            return


def loaded(task, chosen):
    """Returns the pictures of a task; folds become one fixed split."""
    pictures = data.load(task, chosen.data, chosen.output)
    pictures.parts = domain.parts_of(data.TASKS[task], pictures.parts, refit=False)
    return pictures


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "checkpoint", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=list(data.TRAINED_TASKS), choices=data.TRAINED_TASKS)
    parser.add_argument("--depthwise", default="trained", choices=("trained", "frozen"))
    for name, default in (("epochs", 12), ("patience", 5), ("seed", 0), ("threads", 2), ("frozen-blocks", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("encoder-rate", 1e-4), ("head-rate", 5e-4), ("smoothing", 0.05), ("mixing", 0.2)):
        parser.add_argument(f"--{name}", type=float, default=default)
    return parser.parse_args()


def main():
    chosen = options()
    torch.set_num_threads(chosen.threads)
    chosen.output.mkdir(parents=True, exist_ok=True)
    pictures_by_task = {task: loaded(task, chosen) for task in chosen.tasks}
    checkpoint = torch.load(chosen.checkpoint, map_location="cpu", weights_only=True)
    counts = {task: len(pictures.classes) for task, pictures in pictures_by_task.items()}
    torch.manual_seed(chosen.seed)
    eyes = network.Eyes(checkpoint, counts, (chosen.frozen_blocks, chosen.depthwise), DROPOUT_RATIO)
    last = chosen.output / "last.pt"
    if not last.exists():
        start_heads(eyes, pictures_by_task)
    run = Run(eyes, chosen)
    run.schedule(len(batches(pictures_by_task, np.random.default_rng(0))))
    if last.exists():
        run.load(last)
        print(f"going on after epoch {run.epoch}", flush=True)
    else:
        print("before training:", json.dumps(validate(run.average, pictures_by_task)), flush=True)
    train(run, pictures_by_task)


if __name__ == "__main__":
    main()
