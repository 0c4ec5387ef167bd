"""Fits what a domain says of a picture that it does not know: another plant, another part, too poor a picture, or nothing of these.

    python kinds.py --domain crops --data DATA --checkpoint efficientnet-lite0.pth --file crops.safetensors --output OUT

A linear head over the same descriptions, by the eyes of the domain's FILE, to which it adds `kinds.weight` and `kinds.bias`, and a section to its card
beside it; what is there of both is replaced. Train parts alone teach it: plants are those of crops, parts are steel, tiles, ball screws and boards; poor pictures are
made of both by blurring, darkening and overexposing them; grey pieces, pages of text, noise and patterns are drawn. Before, it is measured on each set by a
head that never saw that set: a stranger is, by its nature, of a set that taught nothing.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import data
import domain
import head
import measure
import sight

# In the order of the rows of the head.
KINDS = ("plant", "part", "poor", "other")
PLANTS = ("plantvillage_15", "coffee_leaf_bracol", "cotton_field")
# Training parts without defects to name, by pattern below DATA; neu_det has parts of its own.
PARTS = {"magnetic_tile": "magnetic_tile/train/good/*", "ball_screw": "bsdata_ballscrew/train/good/*", "boards": "deeppcb/train/*_te*.jpg"}
EACH_SET, EACH_KIND = 200, 500
# Below this Loupe says nothing of the kind (models/src/domain/kinds.rs).
SURE_FROM = 0.8
HEADING = "## What it says of strangers"
PENALTY, ITERATIONS = 3e-2, 120
AREA_PX, STEP_PX = 224 * 224, 32


def input_size(size):
    """Returns the size that eyes scale a picture to: about 224 squared, aspect kept, steps of 32."""
    scale = (AREA_PX / (size[0] * size[1])) ** 0.5
    return tuple(max(STEP_PX, round(side * scale / STEP_PX) * STEP_PX) for side in size)


def opened(path):
    return Image.fromarray(data.shrunk(path, input_size(Image.open(path).size)))


def known(task, arguments, random):
    """Returns some pictures of the train part of a task."""
    pictures = data.load(task, arguments.data, arguments.output)
    parts = domain.parts_of(data.TASKS[task], pictures.parts, refit=False)
    return [Image.fromarray(pictures.inputs[i]) for i in some(np.flatnonzero(parts == data.TRAIN), random)]


def some(items, random):
    return [items[i] for i in sorted(random.permutation(len(items))[:EACH_SET])]


def spoiled(picture, random):
    """Returns the picture out of focus, too dark or too bright, as the eyes get it."""
    flaw = random.integers(3)
    if flaw == 0:
        return picture.filter(ImageFilter.GaussianBlur(float(np.exp(random.uniform(np.log(2.5), np.log(9))))))
    low, high = ((0.02, 0.12), (4.0, 20.0))[flaw - 1]
    factor = np.exp(random.uniform(np.log(low), np.log(high)))
    noise = random.normal(0, random.uniform(0, 4), (picture.height, picture.width, 1))
    return Image.fromarray((np.asarray(picture) * factor + noise).clip(0, 255).astype(np.uint8))


def page(random):
    """Returns a page of words."""
    picture = Image.new("RGB", (448, 448), tuple(int(v) for v in random.integers(215, 256, 3)))
    size = int(random.integers(10, 40))
    letters = ImageFont.load_default(size)
    for y in range(8, 448, round(size * 1.4)):
        words = ["".join(chr(97 + c) for c in random.integers(0, 26, random.integers(2, 10))) for _ in range(14)]
        ImageDraw.Draw(picture).text((10, y), " ".join(words), tuple(int(v) for v in random.integers(0, 80, 3)), letters)
    return picture.rotate(random.uniform(-8, 8), fillcolor=(230, 230, 230)).resize((224, 224), Image.Resampling.BICUBIC)


def pattern(random):
    """Returns noise of any grain, or waves."""
    grain = int(2 ** random.integers(0, 6))
    colours = random.integers(0, 256, (224 // grain + 1, 224 // grain + 1, 3 if random.random() < 0.5 else 1))
    noise = np.broadcast_to(colours, (*colours.shape[:2], 3)).astype(np.uint8)
    if random.random() < 0.3:
        y, x = np.mgrid[:224, :224]
        wave = 127 + 120 * np.sin((x * random.uniform(-1, 1) + y * random.uniform(-1, 1)) * random.uniform(0.05, 1))
        noise = np.repeat(wave[..., None], 3, 2).astype(np.uint8)
    return Image.fromarray(noise).resize((224, 224), Image.Resampling(int(random.choice((0, 3)))))


def turned(random):
    """Returns a shaded grey piece on a plain ground, with holes and rings: few parts can be had as pictures, and an unseen one on a plain ground must not
    read as a leaf."""
    ground, grey = random.integers(0, 256), random.integers(30, 226)
    picture = Image.new("L", (224, 224), int(ground))
    draw = ImageDraw.Draw(picture)
    for _ in range(random.integers(1, 7)):
        x, y, across, down = random.uniform((40, 40, 10, 10), (184, 184, 100, 100))
        box = [x - across, y - down, x + across, y + down]
        form = (draw.ellipse, draw.rectangle, draw.rounded_rectangle)[random.integers(3)]
        form(box, fill=int(np.clip(grey + random.normal(0, 40), 0, 255)), outline=int(random.integers(0, 256)), width=int(random.integers(0, 5)))
    picture = picture.rotate(random.uniform(0, 360), fillcolor=int(ground)).filter(ImageFilter.GaussianBlur(random.uniform(0.5, 1.5)))
    y, x = np.mgrid[:224, :224] / 112 - 1
    light = 1 + random.uniform(-0.5, 0.5) * x + random.uniform(-0.5, 0.5) * y
    noise = random.normal(0, random.uniform(0, 12), (224, 224))
    tint = 1 + random.normal(0, 0.03, 3)
    return Image.fromarray(((np.asarray(picture) * light + noise)[..., None] * tint).clip(0, 255).astype(np.uint8))


def drawn(arguments):
    """Returns {set: (kind, pictures)}."""
    random = np.random.default_rng(0)
    sets = {task: ("plant", known(task, arguments, random)) for task in PLANTS}
    sets["neu_det"] = ("part", known("neu_det", arguments, random))
    for name, files in PARTS.items():
        sets[name] = ("part", [opened(path) for path in some(sorted(arguments.data.glob(files)), random)])
    sets["turned"] = ("part", [turned(random) for _ in range(EACH_SET)])
    for name, (_, pictures) in list(sets.items()):
        sets[f"poor {name}"] = ("poor", [spoiled(picture, random) for picture in pictures])
    sets["pages"] = ("other", [page(random) for _ in range(EACH_SET)])
    sets["patterns"] = ("other", [pattern(random) for _ in range(EACH_SET)])
    return sets


@torch.inference_mode()
def described(encoder, pictures):
    """Returns `[n, 5136]`."""
    pixels = (torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() for picture in pictures)
    return torch.cat([head.describe(encoder, one) for one in pixels])


def fitted(sets, without=()):
    """Returns (weight, bias) on raw descriptions, taught by as many of each kind, of all sets but some."""
    random = np.random.default_rng(1)
    rows, labels = [], []
    for index, kind in enumerate(KINDS):
        own = torch.cat([values for name, (of, values) in sets.items() if of == kind and name not in without])
        rows.append(own[torch.from_numpy(random.permutation(len(own))[:EACH_KIND])])
        labels.append(torch.full((len(rows[-1]),), index))
    x, y = torch.cat(rows), torch.cat(labels)
    mean, deviation = x.mean(0), x.std(0) + 1e-3
    weight, bias = measure.logistic((x - mean) / deviation, y, len(KINDS), PENALTY, ITERATIONS, None)
    weight = weight / deviation
    return weight, bias - weight @ mean


def measured(sets):
    """Returns {set: share of its pictures that a head which saw nothing of it gives each kind}."""
    table = {}
    for name, (kind, values) in sets.items():
        weight, bias = fitted(sets, without=(name, f"poor {name}"))
        probabilities, said = (values @ weight.T + bias).softmax(1).max(1)
        said[probabilities < SURE_FROM] = len(KINDS)
        table[name] = {other: float((said == index).float().mean()) for index, other in enumerate((*KINDS, "unsure"))}
        print(f"{name:26} {kind:6}", *(f"{other} {share:.3f}" for other, share in table[name].items()), flush=True)
    return table


def section(table):
    """Returns the part of the card that says what the head learned from and how it does on sets that it has not seen."""
    heads = (*KINDS, "unsure")
    rows = [f"| {name} | " + " | ".join(f"{shares[kind]:.2f}" for kind in heads) + " |" for name, shares in table.items()]
    return "\n".join([
        HEADING, "A second head, by `kinds.py`, tells what a picture shows that the domain does not know. It learned from train parts alone: leaves and cotton, whose",
        "licences are those of `crops`; NEU steel (free for research), magnetic tiles (use welcomed, cite Huang et al. 2020), BSData ball screws (CC BY-SA",
        f"4.0), DeepPCB boards (MIT file, research use); the others are drawn. Shares said of each set by a head that never saw it, of poor pictures none of these poor ones; unsure is below {SURE_FROM}:", "",
        f"| set | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|", *rows, ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "checkpoint", "file", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--domain", required=True)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with safe_open(arguments.file, "pt") as stored:
        metadata, has_eyes = stored.metadata(), any(name.startswith("eyes.") for name in stored.keys())
    checkpoint = torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)
    encoder = sight.encoder_of(checkpoint, sight.trained_of(arguments.file) if has_eyes else None)
    sets = {name: (kind, described(encoder, pictures)) for name, (kind, pictures) in drawn(arguments).items()}
    card = arguments.file.with_suffix(".md")
    card.write_text(card.read_text().split(HEADING)[0].rstrip() + "\n\n" + section(measured(sets)))
    weight, bias = fitted(sets)
    tensors = {**load_file(arguments.file), "kinds.weight": weight.contiguous().float(), "kinds.bias": bias.contiguous().float()}
    save_file(tensors, arguments.file, metadata)


if __name__ == "__main__":
    main()
