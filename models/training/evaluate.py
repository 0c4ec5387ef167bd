"""Measures encoders with heads fitted to their frozen features, and heads that were trained with them.

    python evaluate.py --data DATA --checkpoint efficientnet-lite0.pth --output DIR [--trained best.pt]
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

import data
import measure
import network

PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
CASTING, CASTING_SIZE = "casting", (224, 224)


def fitted(features, labels, classes, parts):
    """Returns (weight, bias, temperature, penalty); the two last are chosen on the validation part."""
    train, validation = (torch.from_numpy(np.isin(parts, part)) for part in (data.TRAIN, data.VALIDATION))
    best = None
    for penalty in PENALTIES:
        weight, bias = measure.probe(features[train], labels[train], classes, penalty)
        logits = features[validation] @ weight.T + bias
        heat = measure.temperature(logits, labels[validation])
        loss = float(torch.nn.functional.cross_entropy(logits / heat, labels[validation]))
        if best is None or loss < best[0]:
            best = (loss, weight, bias, heat, penalty)
    return best[1:]


def probe_task(features, pictures):
    """Returns the test numbers of a linear probe."""
    labels = torch.from_numpy(pictures.labels)
    weight, bias, heat, penalty = fitted(features, labels, len(pictures.classes), pictures.parts)
    test = pictures.where(data.TEST)
    result = measure.report((features[test] @ weight.T + bias) / heat, labels[test], pictures.classes)
    return {**result, "temperature": heat, "penalty": penalty}


def folds(features, pictures):
    """Returns the numbers of healthy against diseased over five folds; the next fold chooses penalty and temperature."""
    labels = torch.from_numpy(np.array(["diseased" in pictures.classes[label] for label in pictures.labels]).astype(int))
    logits = torch.zeros(len(labels), 2)
    for fold in range(data.COTTON_FOLDS):
        test, choice = (pictures.parts == f"fold{(fold + offset) % data.COTTON_FOLDS}" for offset in (0, 1))
        parts = np.where(test, data.TEST, np.where(choice, data.VALIDATION, data.TRAIN))
        *_, heat, penalty = fitted(features, labels, 2, parts)
        rest = torch.from_numpy(~test)
        weight, bias = measure.probe(features[rest], labels[rest], 2, penalty)
        logits[test] = (features[test] @ weight.T + bias) / heat
    return measure.report(logits, labels, ["healthy", "diseased"])


def casting(encoder, root):
    """Returns the numbers of a user's own station: a head on frozen features, good against defect."""
    folders = {("train/good", 0): data.TRAIN, ("train_defects/def_front", 1): data.TRAIN,
               ("test/good", 0): data.TEST, ("test/def_front", 1): data.TEST}
    rows = [(path, label, part) for (folder, label), part in folders.items() for path in sorted((root / CASTING / folder).iterdir())]
    inputs = np.stack([data.shrunk(path, CASTING_SIZE) for path, _, _ in rows])
    parts = np.array([data.VALIDATION if part == data.TRAIN and data.digest(path.name) % 10 == 0 else part for path, _, part in rows])
    labels, features = torch.tensor([label for _, label, _ in rows]), network.features_of(encoder, inputs)
    weight, bias, heat, penalty = fitted(features, labels, 2, parts)
    test = parts == data.TEST
    logits = (features[test] @ weight.T + bias) / heat
    result = measure.report(logits, labels[test], ["good", "defect"])
    scores, positives = (logits[:, 1] - logits[:, 0]).numpy(), labels[test].numpy() == 1
    pairs = np.stack([scores, positives], 1)
    spread = measure.interval(pairs, lambda rows: measure.auroc(rows[:, 0], rows[:, 1] == 1))
    return {**result, "auroc": measure.auroc(scores, positives), "auroc_95": spread, "penalty": penalty}


def trained_head(logits, pictures):
    """Returns the test numbers of a head trained with its encoder; the validation part sets the temperature."""
    labels = torch.from_numpy(pictures.labels)
    validation, test = pictures.where(data.VALIDATION), pictures.where(data.TEST)
    heat = measure.temperature(logits[validation], labels[validation])
    return {**measure.report(logits[test] / heat, labels[test], pictures.classes), "temperature": heat}


def measured(eyes, arguments, has_heads):
    """Returns all numbers of one encoder."""
    table = {}
    for name in (task for task in data.TASKS if task in arguments.tasks):
        pictures = data.load(name, arguments.data, arguments.output)
        features = network.features_of(eyes.encoder, pictures.inputs)
        if name not in data.TRAINED_TASKS:
            table[name] = {"probe": folds(features, pictures)}
        else:
            table[name] = {"probe": probe_task(features, pictures), "split_sha256": data.split_sha256(pictures)}
            if has_heads and name in eyes.heads:
                with torch.no_grad():
                    table[name]["head"] = trained_head(eyes.heads[name](features), pictures)
        table[name]["near_duplicates"] = len(data.near_duplicates(pictures))
        show(name, table[name])
    if CASTING in arguments.tasks:
        table[CASTING] = {"probe": casting(eyes.encoder, arguments.data)}
        show(CASTING, table[CASTING])
    return table


def show(name, rows):
    for kind in ("probe", "head"):
        if kind in rows:
            row = rows[kind]
            low, high = row["accuracy_95"]
            print(f"{name:20} {kind:6} n {row['n_images']:4} accuracy {row['accuracy']:.3f} [{low:.3f}, {high:.3f}]"
                  f" macro F1 {row['macro_f1']:.3f} ECE {row['calibration_error']:.3f}"
                  + (f" AUROC {row['auroc']:.3f} {row['auroc_95']}" if "auroc" in row else ""), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "checkpoint", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--trained", type=Path, help="best.pt of train.py; without it, the published weights")
    parser.add_argument("--tasks", nargs="+", default=[*data.TASKS, CASTING], choices=[*data.TASKS, CASTING])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    checkpoint = torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)
    state = torch.load(arguments.trained, map_location="cpu", weights_only=True) if arguments.trained else None
    counts = state["classes_by_task"] if state else {}
    eyes = network.Eyes(checkpoint, counts, (len(network.BLOCKS),), dropout_ratio=0.0).eval()
    if state:
        eyes.load_state_dict(state["eyes"])
    table = measured(eyes, arguments, has_heads=state is not None)
    target = arguments.output / ("trained.json" if state else "baseline.json")
    known = json.loads(target.read_text()) if target.exists() else {}
    target.write_text(json.dumps({**known, **table}, indent=1))


if __name__ == "__main__":
    main()
