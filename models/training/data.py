"""Pictures of the training tasks: which part each belongs to, and their pixels, shrunk once."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

TRAIN, VALIDATION, TEST, UNUSED = "train", "validation", "test", "unused"
RANGES = 10
# Shots closer than this on one camera may show the same leaf; the training side of such a pair is left out.
SAME_LEAF_SHOTS = 4
COTTON_FOLDS = 5
NEAR_DUPLICATE_COSINE = 0.98


@dataclass(frozen=True)
class Task:
    """One classification task. Sizes are (width, height) in pixels: about 224 squared, aspect kept, steps of 32."""

    folder: str
    input_size: tuple[int, int]
    cached_size: tuple[int, int]
    held_out_by: str


SQUARE = ((224, 224), (256, 256))
TASKS = {
    "plantvillage_15": Task("plantvillage_15/train", *SQUARE, "counter"),
    "coffee_leaf_bracol": Task("coffee_leaf_bracol/train", (320, 160), (384, 192), "counter"),
    "neu_det": Task("neu_det/train", *SQUARE, "hash"),
    "cotton_field": Task("cotton_field/train", *SQUARE, "folds"),
}
TRAINED_TASKS = ("plantvillage_15", "coffee_leaf_bracol", "neu_det", "cotton_field")


@dataclass
class Pictures:
    """The pictures of a task. `cached` and `inputs` are [n, height, width, 3] bytes, RGB."""

    names: list[str]
    labels: np.ndarray
    parts: np.ndarray
    classes: list[str]
    cached: np.ndarray
    inputs: np.ndarray

    def where(self, part):
        """Returns the indices of the pictures of a part."""
        return np.flatnonzero(self.parts == part)


def camera_and_counter(name):
    """Returns what the file name tells about the camera and the shot: `X___RS_HL_1864.JPG` is ("RS_HL_", 1864.0)."""
    stem = name.split("___")[-1].rsplit(".", 1)[0]
    found = re.search(r"\d+(\.\d+)?", stem)
    if not found:
        return stem, 0.0
    # The day of a series comes after the leaf: neighbours are then shots of one leaf.
    return stem[: found.start()], float(found.group())


def digest(text):
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def ranges(names, count):
    """Returns `count` lists of names in the order of camera and counter, cut at the widest gap near each equal cut."""
    ordered = sorted(names, key=lambda name: (*camera_and_counter(name), name))
    cuts = [0]
    for index in range(1, count):
        nominal = round(index * len(ordered) / count)
        cuts.append(max(range(nominal - 1, nominal + 2), key=lambda cut: gap(ordered[cut - 1], ordered[cut])))
    cuts.append(len(ordered))
    return [ordered[start:end] for start, end in zip(cuts, cuts[1:])]


def gap(before, after):
    """Returns how many shots lie between two pictures, infinitely many where the cameras differ."""
    (camera, counter), (other, other_counter) = camera_and_counter(before), camera_and_counter(after)
    return abs(other_counter - counter) if camera == other else float("inf")


def parts_by_counter(class_name, names):
    """Returns the part of each name: two neighbouring tenths are the test, the next is the validation."""
    tenths = ranges(names, RANGES)
    first = digest(class_name) % RANGES
    by_offset = {0: TEST, 1: TEST, 2: VALIDATION}
    parts = {n: by_offset.get((i - first) % RANGES, TRAIN) for i, tenth in enumerate(tenths) for n in tenth}
    rank = {TRAIN: 0, VALIDATION: 1, TEST: 2}
    given = dict(parts)
    for name in names:
        close = [n for n in names if given[n] != given[name] and gap(name, n) < SAME_LEAF_SHOTS]
        if any(rank[given[n]] > rank[given[name]] for n in close):
            parts[name] = UNUSED
    return parts


def parts_by_hash(names):
    ordered = sorted(names, key=digest)
    tenth = len(names) // RANGES
    return {n: TEST if i < 2 * tenth else VALIDATION if i < 3 * tenth else TRAIN for i, n in enumerate(ordered)}


def parts_by_fold(names):
    return {n: f"fold{i}" for i, fold in enumerate(ranges(names, COTTON_FOLDS)) for n in fold}


def split(task, class_name, names):
    """Returns the part of each picture of one class, by a rule that needs nothing but the names."""
    if task.held_out_by == "counter":
        return parts_by_counter(class_name, names)
    return parts_by_hash(names) if task.held_out_by == "hash" else parts_by_fold(names)


def shrunk(path, size):
    """Returns the picture as [height, width, 3] bytes; bicubic with a low pass, as Loupe's encoder scales."""
    return np.asarray(Image.open(path).convert("RGB").resize(size, Image.Resampling.BICUBIC))


def load_folder(folder, cached_size, input_size, task):
    """Returns the pictures of a folder of class folders."""
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    rows = []
    for label, class_name in enumerate(classes):
        names = sorted(entry.name for entry in (folder / class_name).iterdir())
        parts = split(task, class_name, names)
        rows += [(f"{class_name}/{name}", label, parts[name]) for name in names]
    names, labels, parts = zip(*rows)
    cached, inputs = (np.stack([shrunk(folder / n, size) for n in names]) for size in (cached_size, input_size))
    return Pictures(list(names), np.array(labels), np.array(parts), classes, cached, inputs)


def load(task_name, data, output):
    """Returns the pictures of a task, from the byte cache under `output` when it is there."""
    task, cache = TASKS[task_name], output / f"{task_name}.npz"
    if not cache.exists():
        pictures = load_folder(data / task.folder, task.cached_size, task.input_size, task)
        np.savez(cache, **vars(pictures))
    with np.load(cache) as stored:
        fields = {key: stored[key] for key in stored.files}
    return Pictures(**{**fields, "names": fields["names"].tolist(), "classes": fields["classes"].tolist()})


def split_sha256(pictures):
    """Returns the fingerprint of who is in which part."""
    return hashlib.sha256(json.dumps(sorted(zip(pictures.names, pictures.parts.tolist()))).encode()).hexdigest()


def near_duplicates(pictures):
    """Returns pairs (cosine, name, name) across parts whose normalised 32 x 32 grey thumbnails nearly agree."""
    grey = [Image.fromarray(p).convert("L").resize((32, 32), Image.Resampling.BOX) for p in pictures.inputs]
    flat = np.stack([np.asarray(g, np.float32).ravel() for g in grey])
    flat -= flat.mean(1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6
    alike = np.triu(flat @ flat.T, 1)
    pairs = np.argwhere(alike > NEAR_DUPLICATE_COSINE)
    return sorted(
        ((float(alike[i, j]), pictures.names[i], pictures.names[j]) for i, j in pairs
         if pictures.parts[i] != pictures.parts[j] and UNUSED not in (pictures.parts[i], pictures.parts[j])),
        reverse=True,
    )
