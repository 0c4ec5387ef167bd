"""Sight: what the encoder sees of a picture, cell by cell; of the plain pictures it is computed once."""

import hashlib
import os

import numpy as np
import torch
from safetensors.torch import load_file

import augment
import data
import network

CELL_PX = 32
CELL_VALUES = 4 * 672 + 1280
BATCH = 16


def cells(encoder, pixels):
    """Returns `[batch, height / 32 * width / 32, 3968]` of pixels `[batch, 3, height, width]`, cells by rows: the four texture
    values of a cell, rows first, then its shape value."""
    texture, shape = encoder.maps(pixels)
    corners = [texture[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    # NCHW -> N, HW, C
    return torch.cat([*corners, shape], 1).flatten(2).transpose(1, 2)


def fingerprint(encoder):
    """Returns a short name of an encoder's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def plain(encoder, task, examples, folder):
    """Returns f16 `[n, cells, 3968]` of a task's pictures as they are, from the cache when it is there."""
    path = folder / f"{task}.npy"
    if not path.exists():
        width, height = data.TASKS[task].input_size
        shape = len(examples.labels), width * height // CELL_PX**2, CELL_VALUES
        partial = path.with_suffix(".partial")
        sights = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
        with torch.inference_mode():
            for start in range(0, len(sights), BATCH):
                # NHWC -> NCHW
                pixels = torch.from_numpy(examples.pictures.inputs[start : start + BATCH]).permute(0, 3, 1, 2).float()
                sights[start : start + BATCH] = cells(encoder, pixels).half().numpy()
        sights.flush()
        os.replace(partial, path)
        print(f"{task}: seen", flush=True)
    return np.load(path, mmap_mode="r")


def load(encoder, examples_by_task, output):
    """Returns {task: f16 `[n, cells, 3968]`} of the plain pictures, cached under `output` by the encoder's weights."""
    folder = output / f"sight-{fingerprint(encoder)}"
    folder.mkdir(parents=True, exist_ok=True)
    return {task: plain(encoder, task, examples, folder) for task, examples in examples_by_task.items()}


@torch.no_grad()
def augmented(encoder, task, pictures, indices, random):
    """Returns `[batch, cells, 3968]` of new views of some pictures. Few of all possible views are ever drawn, so none is kept."""
    return cells(encoder, augment.augmented(pictures.cached[indices], data.TASKS[task].input_size, random)).contiguous()


def scale(sights, examples_by_task):
    """Returns (mean, deviation), each `[3968]`, of the cells of the plain training pictures."""
    total, squares, count = 0.0, 0.0, 0
    for task, examples in examples_by_task.items():
        for index in examples.where(data.TRAIN):
            x = sights[task][index].astype(np.float64)
            total, squares, count = total + x.sum(0), squares + np.square(x).sum(0), count + len(x)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - np.square(mean), 0))
    return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()


def means(cells_of):
    """Returns `[n, 1952]`, the means of the two maps, of cells `[n, cells, 3968]`."""
    mean = cells_of.mean(1)
    texture = mean[:, : 4 * 672].view(len(mean), 4, 672).mean(1)
    return torch.cat([texture, mean[:, 4 * 672 :]], 1)


def trained_of(path):
    """Returns what `encoder_of` takes: the content of a `best.pt` of train.py, the eyes of a domain's file, or None without a path."""
    if path is None or path.suffix != ".safetensors":
        return path and torch.load(path, map_location="cpu", weights_only=True)
    stored = load_file(path)
    state = {f"encoder.{name.replace('.', '_')}_{kind}": stored[f"eyes.{name}.{kind}"].float()
             for name, _ in network.convolutions() for kind in ("weight", "bias")}
    return {"eyes": state, "classes_by_task": {}}


def encoder_of(checkpoint, trained=None):
    """Returns the encoder of the published checkpoint, or with weights of `trained_of`."""
    if trained is None:
        return network.Encoder(checkpoint, len(network.BLOCKS)).eval()
    eyes = network.Eyes(checkpoint, trained["classes_by_task"], (len(network.BLOCKS),), 0.0)
    eyes.load_state_dict(trained["eyes"])
    return eyes.encoder.eval()
