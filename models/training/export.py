"""Writes the weights for Loupe and their model card.

    python export.py --checkpoint efficientnet-lite0.pth --trained best.pt --output DIR

DIR also holds what train.py and evaluate.py wrote. The tensors have the names of the published checkpoint, batch norm apart;
heads are `head.TASK.weight` [classes, 1952] and `head.TASK.bias` on the means of block 11's expansion and of the head convolution.
"""

import argparse
import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

import data
import network

LICENCES = {
    "plantvillage_15": "conflicting statements; CC BY-SA 3.0 in the paper",
    "coffee_leaf_bracol": "MIT",
    "neu_det": "for research",
}
NOT_SHIPPED = ("_fc.weight", "_fc.bias")


def tensors(checkpoint, state):
    """Returns the encoder's and heads' tensors by their shipped names."""
    eyes = network.Eyes(checkpoint, state["classes_by_task"], (len(network.BLOCKS),), 0.0)
    eyes.load_state_dict(state["eyes"])
    encoder = network.unfold(eyes.encoder.folded(), checkpoint)
    kept = {n: t for n, t in encoder.items() if n not in NOT_SHIPPED and not n.endswith("num_batches_tracked")}
    heads = {f"head.{name}": value for name, value in eyes.heads.state_dict().items()}
    return {name: value.detach().contiguous().clone() for name, value in {**kept, **heads}.items()}


def line_chart(history, width=480, height=200):
    """Returns an SVG of the training loss and of each task's validation accuracy by epoch."""
    names = ["loss", *history[0]["validation"]]
    curves = [[e["loss"] for e in history]] + [[e["validation"][name][0] for e in history] for name in names[1:]]
    top = max(1.0, *curves[0])
    colours = ("#555", "#0a7", "#b50", "#05c")
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 160} {height + 20}" font-family="sans-serif" font-size="11">']
    for row, (name, values, colour) in enumerate(zip(names, curves, colours)):
        xs = [10 + (width - 20) * i / max(1, len(values) - 1) for i in range(len(values))]
        points = " ".join(f"{x:.1f},{10 + height * (1 - v / top):.1f}" for x, v in zip(xs, values))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        parts.append(f'<text x="{width}" y="{20 + 16 * row}" fill="{colour}">{name} {values[-1]:.3f}</text>')
    return "\n".join([*parts, "</svg>\n"])


def table(numbers):
    rows = ["| task | method | test images | accuracy | 95 % | macro F1 | calibration error |", "|---|---|---|---|---|---|---|"]
    for task, kinds in numbers.items():
        for kind in ("probe", "head"):
            if kind in kinds:
                row = kinds[kind]
                low, high = row["accuracy_95"]
                rows.append(f"| {task} | {kind} | {row['n_images']} | {row['accuracy']:.3f} | {low:.3f} to {high:.3f}"
                            f" | {row['macro_f1']:.3f} | {row['calibration_error']:.3f} |")
    return "\n".join(rows)


def confusions(numbers):
    """Returns the confusion matrices of the trained heads, true classes in rows."""
    parts = []
    for task, kinds in numbers.items():
        row = kinds.get("head")
        if row:
            lines = [f"{name:48} " + " ".join(f"{n:3}" for n in counts) for name, counts in zip(row["recall"], row["confusion"])]
            parts.append(f"### {task}\n\n```\n" + "\n".join(lines) + "\n```")
    return "\n\n".join(parts)


def card(state, numbers, baseline, run):
    """Returns the model card."""
    licences = "\n".join(f"- {task}: {LICENCES[task]}; split {numbers[task]['split_sha256'][:16]}" for task in state["classes_by_task"])
    seconds = [epoch["seconds"] for epoch in run["history"]]
    return f"""# Model card: eyes

EfficientNet-Lite0 (Apache-2.0, ImageNet), fine-tuned with one linear head per task. Inputs as Loupe's encoder takes them:
about 224 x 224 pixels, aspect kept, sides in steps of 32, (x - 127) / 128.

## Data and licences
{licences}

No picture of casting (licence in doubt) or of the sets that are for golden parts only was used to train.

## Training
Options: {json.dumps(run["options"])}. Best epoch {state["epoch"]} of {len(seconds)}, {sum(seconds) / 60:.0f} minutes, {sum(seconds) / len(seconds):.0f} s an epoch.
Curves: curves.svg. The validation part chose the epoch, the penalties and the temperatures; the test part chose nothing.

## Test part, trained encoder
{table(numbers)}

`head`: trained with the encoder. `probe`: logistic regression on the encoder's frozen features. cotton_field: five folds.
casting: a user's own station, a head on frozen features, not shipped.

## Test part, published encoder
{table(baseline)}

## Confusion of the heads (true classes in rows)
{confusions(numbers)}

## Limits
- plantvillage_15 shows single leaves on a plain background; it says nothing about leaves in the field.
- Temperatures come from 80 to 93 validation pictures a task, which also chose the epoch.
- Pictures of anything else get one of the labels too: these heads do not know what they do not know.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("checkpoint", "trained", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    checkpoint, state, last = (torch.load(path, map_location="cpu", weights_only=True)
                               for path in (arguments.checkpoint, arguments.trained, arguments.trained.with_name("last.pt")))
    numbers, baseline = (json.loads((arguments.output / name).read_text()) for name in ("trained.json", "baseline.json"))
    weights, hashes = tensors(checkpoint, state), {}
    for name, kind in (("eyes-f32", torch.float32), ("eyes-f16", torch.float16)):
        path = arguments.output / f"{name}.safetensors"
        save_file({key: value.to(kind) for key, value in weights.items()}, path)
        hashes[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    labels = {task: data.load(task, None, arguments.output).classes for task in state["classes_by_task"]}
    tasks = {task: {"labels": names, "temperature": numbers[task]["head"]["temperature"],
                    "input_size": data.TASKS[task].input_size} for task, names in labels.items()}
    (arguments.output / "eyes.json").write_text(json.dumps({"tasks": tasks, "sha256": hashes}, indent=1))
    (arguments.output / "curves.svg").write_text(line_chart(last["history"]))
    (arguments.output / "MODEL_CARD.md").write_text(card(state, numbers, baseline, last))


if __name__ == "__main__":
    main()
