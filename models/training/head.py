"""Fits the head of a domain, and the score that tells what it has never seen, to descriptions by the domain's encoder.

    python head.py --domain crops --data DATA --checkpoint efficientnet-lite0.pth [--trained best.pt] --output OUT

A description is the mean and the deviation of every channel of seven maps over the picture, as Loupe's eyes give it. Plain pictures and
augmented views are described once, into a cache under --output. The validation part chooses penalty and temperature; the test part
chooses nothing. Writes head.safetensors and head.json.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

import augment
import data
import domain
import measure
import network
import sight

PLAIN, UPSIDE_DOWN = 0, -1
VIEWS = 6
BATCH = 16
PENALTIES = (3e-3, 1e-2, 3e-2)
ITERATIONS = 120
DIRECTIONS = 32
SCALE_FLOOR = 0.01
FOLDS = 5


def taps(encoder, pixels):
    """Returns the maps that a description is made of, `[batch, channels, rows, cols]` each, of pixels as the encoder takes them."""
    x = ((pixels - network.INPUT_MEAN) * network.INPUT_SCALE).contiguous(memory_format=torch.channels_last)
    x = F.relu6(encoder.conv(x, "_conv_stem", stride=2))
    expansions, outputs = [], []
    for index in range(len(network.BLOCKS)):
        x, expanded = encoder.block(x, index)
        expansions.append(expanded)
        outputs.append(x)
    shape = F.relu6(encoder.conv(x, "_conv_head"))
    return [expansions[3], expansions[5], outputs[4], outputs[7], outputs[10], expansions[network.TEXTURE_BLOCK], shape]


def describe(encoder, pixels):
    """Returns `[batch, 5136]`: the mean of every channel of every map, then the deviations."""
    maps = taps(encoder, pixels)
    means = [m.mean((2, 3)) for m in maps]
    deviations = [(m.square().mean((2, 3)) - mean.square()).clamp(min=0).sqrt() for m, mean in zip(maps, means)]
    return torch.cat(means + deviations, 1)


def pixels_of(task, pictures, view, indices):
    """Returns `[batch, 3, height, width]` of a view: 0 is the plain picture, -1 the same upside down, the others are augmented, each its own
    way."""
    if view in (PLAIN, UPSIDE_DOWN):
        pixels = torch.from_numpy(pictures.inputs[indices]).permute(0, 3, 1, 2).float()
        return pixels.flip(2) if view == UPSIDE_DOWN else pixels
    random = np.random.default_rng([view, int(indices[0]), data.digest(task) % 2**32])
    return augment.augmented(pictures.cached[indices], data.TASKS[task].input_size, random)


def descriptions(encoder, task, examples, view, folder):
    """Returns `[n, 5136]` of one view, from the cache when it is there; of augmented views only the training part is described."""
    chosen = np.arange(len(examples.labels)) if view in (PLAIN, UPSIDE_DOWN) else examples.where(data.TRAIN)
    path = folder / f"describe-{sight.fingerprint(encoder)}-{task}-{view}-{len(chosen)}.npy"
    if not path.exists():
        parts = []
        with torch.inference_mode():
            for start in range(0, len(chosen), BATCH):
                parts.append(describe(encoder, pixels_of(task, examples.pictures, view, chosen[start : start + BATCH])))
        np.save(path, torch.cat(parts).numpy())
        print(f"{task}: view {view} described", flush=True)
    return torch.from_numpy(np.load(path))


def gaussian(rows):
    """Returns the tensors of a Gaussian around descriptions `[n, dim]` (probabilistic principal components, Tipping and Bishop
    1999)."""
    scale = rows.std(0) + SCALE_FLOOR
    scaled = rows / scale
    mean = scaled.mean(0)
    _, singular, directions = torch.linalg.svd(scaled - mean, full_matrices=False)
    variances = singular.square() / len(rows)
    rest = variances[DIRECTIONS:].sum() / (rows.shape[1] - DIRECTIONS)
    return {"scale": scale, "mean": mean, "directions": directions[:DIRECTIONS].contiguous(),
            "variances": variances[:DIRECTIONS].contiguous(), "rest_variance": rest.view(1)}


def novelty(rows, folds):
    """Returns the Gaussian around all rows, and of each row the score by a Gaussian around the other folds."""
    scores = torch.zeros(len(rows))
    for fold in np.unique(folds):
        held_out = torch.from_numpy(folds == fold)
        scores[held_out] = score(gaussian(rows[~held_out]), rows[held_out])
    return {**gaussian(rows), "scores": scores}


def neighbours(examples):
    """Returns the fold `[n]` of each picture that teaches or chooses, task by task: runs of neighbours of each class, since those look
    alike."""
    folds = []
    for own in examples.values():
        chosen = np.concatenate([own.where(part) for part in (data.TRAIN, data.VALIDATION)])
        fold = np.empty(len(chosen), int)
        for label in np.unique(own.labels[chosen]):
            members = np.flatnonzero(own.labels[chosen] == label)
            names = [own.pictures.names[index].split("/", 1)[1] for index in chosen[members]]
            ordered = sorted(range(len(members)), key=lambda i: (*data.camera_and_counter(names[i]), names[i]))
            fold[members[ordered]] = np.arange(len(members)) * FOLDS // len(members)
        folds.append(fold)
    return np.concatenate(folds)


def taught(examples, described):
    """Returns the plain descriptions of all pictures that teach or choose, in the order of `neighbours`."""
    rows = [described[task][0][np.concatenate([own.where(part) for part in (data.TRAIN, data.VALIDATION)])]
            for task, own in examples.items()]
    return torch.cat(rows)


def hashes(root, examples):
    """Returns the SHA-256 `[n, 32]` of the files that teach or choose, ascending."""
    found = []
    for task, own in examples.items():
        for part in (data.TRAIN, data.VALIDATION):
            paths = [root / data.TASKS[task].folder / own.pictures.names[index] for index in own.where(part)]
            found += [hashlib.sha256(path.read_bytes()).digest() for path in paths]
    return torch.from_numpy(np.frombuffer(b"".join(sorted(found)), np.uint8).reshape(-1, 32).copy())


def score(parts, rows):
    """Returns the squared Mahalanobis distances `[n]` of descriptions."""
    centred = rows / parts["scale"] - parts["mean"]
    along = (centred @ parts["directions"].T).square()
    across = (centred.square().sum(1) - along.sum(1)).clamp(min=0)
    return (along / parts["variances"]).sum(1) + across / parts["rest_variance"]


def stack(examples, described, part):
    """Returns (descriptions, labels) of a part over all tasks and the views that are there."""
    rows, labels = [], []
    for task, views in described.items():
        chosen = examples[task].where(part)
        own = torch.from_numpy(examples[task].labels[chosen])
        # An augmented view holds the training part alone.
        for view in views if part == data.TRAIN else views[:1]:
            rows.append(view[chosen] if len(view) == len(examples[task].labels) else view)
            labels.append(own)
    return torch.cat(rows), torch.cat(labels)


def choose(train, validation, count):
    """Returns ((weight, bias), temperature, penalty, validation loss) on raw descriptions: the validation part chooses the penalty."""
    mean, deviation = train[0].mean(0), train[0].std(0) + 1e-3
    x, y = (train[0] - mean) / deviation, (validation[0] - mean) / deviation
    best, last = None, None
    for penalty in sorted(PENALTIES, reverse=True):
        last = measure.logistic(x, train[1], count, penalty, ITERATIONS, last)
        logits = y @ last[0].T + last[1]
        heat = measure.temperature(logits, validation[1])
        loss = float(F.cross_entropy(logits / heat, validation[1]))
        print(f"penalty {penalty:g}: validation loss {loss:.3f}, accuracy {float((logits.argmax(1) == validation[1]).float().mean()):.3f}", flush=True)
        if best is None or loss < best[3]:
            weight = last[0] / deviation
            best = ((weight, last[1] - weight @ mean), heat, penalty, loss)
    return best


def report(labels, examples, described, head, heat, part):
    """Returns the numbers of each task on a part."""
    table = {}
    for task, views in described.items():
        chosen = examples[task].where(part)
        given = examples[task].labels[chosen]
        logits = (views[0][chosen] @ head[0].T + head[1]) / heat
        right = domain.is_right(labels, task, given, logits.argmax(1).numpy()).astype(float)
        table[task] = {"n_images": len(given), "accuracy": right.mean(), "accuracy_95": measure.interval(right),
                       "calibration_error": measure.calibration_error(logits.softmax(1), torch.from_numpy(given))}
        low, high = table[task]["accuracy_95"]
        print(f"{task:20} n {len(given)} accuracy {right.mean():.3f} [{low:.3f}, {high:.3f}] ECE {table[task]['calibration_error']:.3f}", flush=True)
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "checkpoint", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--trained", type=Path, help="best.pt of train.py, or a domain's file for its eyes; without it, the published weights")
    parser.add_argument("--domain", required=True)
    parser.add_argument("--upside-down", action="store_true", help="judge by the mean of a picture's description and that of the picture upside down")
    parser.add_argument("--refit", action="store_true", help="let the test parts teach as well")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.output.mkdir(parents=True, exist_ok=True)
    checkpoint = torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)
    encoder = sight.encoder_of(checkpoint, sight.trained_of(arguments.trained))
    labels = domain.labels_of(arguments.domain)
    examples = domain.load(arguments.domain, arguments.data, arguments.output, arguments.refit)
    described = {task: [descriptions(encoder, task, own, view, arguments.output) for view in range(VIEWS + 1)]
                 for task, own in examples.items()}
    judged = {task: views[:1] for task, views in described.items()}
    if arguments.upside_down:
        judged = {task: [(views[0] + descriptions(encoder, task, examples[task], UPSIDE_DOWN, arguments.output)) / 2]
                  for task, views in described.items()}
    train, validation = stack(examples, described, data.TRAIN), stack(examples, judged, data.VALIDATION)
    head, heat, penalty, loss = choose(train, validation, len(labels))
    known = novelty(taught(examples, described), neighbours(examples))
    numbers = {"encoder": sight.fingerprint(encoder), "penalty": penalty, "temperature": heat, "validation_loss": loss, "refit": arguments.refit,
               "views": "upside_down_too" if arguments.upside_down else "plain",
               "measured": report(labels, examples, judged, head, heat, domain.judging_part(arguments.refit))}
    tensors = {"head.weight": head[0], "head.bias": head[1], **{f"novelty.{name}": value for name, value in known.items()}}
    tensors = {name: value.contiguous().float() for name, value in tensors.items()}
    save_file({**tensors, "learned_from": hashes(arguments.data, examples)}, arguments.output / "head.safetensors")
    (arguments.output / "head.json").write_text(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()
