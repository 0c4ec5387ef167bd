"""Whether a domain names what it marks: covers the marked boxes with the colour of the leaf, or as many boxes elsewhere, and counts how often
the name stands (a deletion test, after Petsiuk et al., "RISE", BMVC 2018)."""

import argparse
import json
import random
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

# A box for elsewhere is the best of this many drawn ones: most leaf, least of what is covered already.
DRAWS = 200
# Pixels at least as colourful belong to the leaf, others to the background.
LEAF_CHROMA = 40
# What is marked over more than this has no elsewhere.
MOST_MARKED = 0.5


def reports(loupe, domain, paths):
    command = [loupe, "inspect", "--json", "--no-text", "--domain", domain, *map(str, paths)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def name(report):
    return report["diagnosis"]["subject"], report["diagnosis"]["finding"]


def boxes(report):
    return [tuple(defect["bbox"][side] for side in ("x", "y", "width", "height")) for defect in report["defects"]]


def moved(sizes, marked, leaf, draw):
    """Returns a mask of boxes of these sizes elsewhere on the leaf."""
    rows, cols = marked.shape
    mask = np.zeros_like(marked)
    for _, _, width, height in sizes:
        places = [(draw.randint(0, cols - width), draw.randint(0, rows - height)) for _ in range(DRAWS)]
        spans = [np.s_[y : y + height, x : x + width] for x, y in places]
        mask[min(spans, key=lambda span: (marked | mask)[span].mean() - leaf[span].mean())] = True
    return mask & ~marked


def covered(report, draw):
    """Returns the picture twice, marked places covered and others, with both shares; None where too much is marked."""
    pixels = np.asarray(Image.open(report["source"]["path"]).convert("RGB"))
    leaf = np.ptp(pixels.astype(int), axis=2) > LEAF_CHROMA
    marked = np.zeros(leaf.shape, bool)
    for x, y, width, height in boxes(report):
        marked[y : y + height, x : x + width] = True
    if not 0 < marked.mean() <= MOST_MARKED or not leaf.any():
        return None
    colour = np.median(pixels[leaf], axis=0).astype(np.uint8)
    masks = marked, moved(boxes(report), marked, leaf, draw)
    return [(np.where(mask[..., None], colour, pixels), mask.mean()) for mask in masks]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--loupe", default="loupe")
    parser.add_argument("--domain", default="crops")
    options = parser.parse_args()
    draw = random.Random(5)
    kept = [(report, covered(report, draw)) for report in reports(options.loupe, options.domain, options.pictures)]
    kept = [(report, pair) for report, pair in kept if pair]
    with TemporaryDirectory() as folder:
        for side, where in enumerate(("marked", "elsewhere")):
            paths = [Path(folder) / f"{index:04}_{where}.png" for index in range(len(kept))]
            for path, (_, pair) in zip(paths, kept):
                Image.fromarray(pair[side][0]).save(path)
            after = reports(options.loupe, options.domain, paths)
            same = sum(name(new) == name(old) for new, (old, _) in zip(after, kept))
            share = np.mean([pair[side][1] for _, pair in kept])
            print(f"{where}: {share:.3f} of the picture covered, {same} of {len(kept)} keep their name")


if __name__ == "__main__":
    main()
