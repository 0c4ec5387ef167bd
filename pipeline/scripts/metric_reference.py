"""Writes pipeline/tests/fixtures/metric_reference.json: random inputs and what scikit-learn, SciPy, OpenCV or a slow literal
implementation make of them. `eval::metrics` is tested against it.

    pip install numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 opencv-python-headless
    python pipeline/scripts/metric_reference.py
"""

import json
from pathlib import Path

import cv2
import numpy as np
import scipy
import sklearn
from scipy import ndimage, stats
from sklearn import metrics

RNG = np.random.default_rng(20)
OUT = Path(__file__).parent.parent / "tests" / "fixtures" / "metric_reference.json"


def ranking(n, decimals):
    """Few decimals make ties."""
    is_defect = RNG.random(n) < 0.4
    scores = np.round(RNG.gamma(3, 1, n) + 0.9 * is_defect, decimals)
    precision, recall, _ = metrics.precision_recall_curve(is_defect, scores)
    false_rate, true_rate, _ = metrics.roc_curve(is_defect, scores, drop_intermediate=False)
    return {
        "scores": scores.tolist(),
        "is_defect": is_defect.tolist(),
        "image_auroc": metrics.roc_auc_score(is_defect, scores),
        "image_aupr": metrics.average_precision_score(is_defect, scores),
        "image_f1_max": float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))),
        "caught_at_overkill_5pct": float(true_rate[false_rate <= 0.05].max()),
    }


def naming(n):
    classes = ["open", "short", "spur", "copper"]
    truth = RNG.integers(0, 3, n)  # "copper" is named but never there
    said = np.where(RNG.random(n) < 0.6, truth, RNG.integers(0, 4, n))
    return {
        "classes": classes,
        "truth": [classes[i] for i in truth],
        "said": [classes[i] for i in said],
        "confusion": metrics.confusion_matrix(truth, said, labels=range(4)).tolist(),
        "macro_f1": metrics.f1_score(truth, said, average="macro"),
        "f1": metrics.f1_score(truth, said, average=None, labels=range(4), zero_division=0).tolist(),
    }


def binomial(hits, n):
    return {
        "hits": hits,
        "n": n,
        "low": 0.0 if hits == 0 else float(stats.beta.ppf(0.025, hits, n - hits + 1)),
        "high": 1.0 if hits == n else float(stats.beta.ppf(0.975, hits + 1, n - hits)),
    }


def aupro(heats, masks, limit=0.3):
    """Literally: every distinct heat as threshold, the mean overlap over regions, the area up to the limit."""
    regions = []
    for heat, mask in zip(heats, masks):
        labels, count = ndimage.label(mask > 0, structure=np.ones((3, 3)))
        regions += [heat[labels == i + 1] for i in range(count)]
    clean = np.concatenate([h[m == 0] for h, m in zip(heats, masks)])
    points = [(0.0, 0.0)]
    for threshold in np.unique(np.concatenate([h.ravel() for h in heats]))[::-1]:
        points.append((np.mean(clean >= threshold), np.mean([np.mean(r >= threshold) for r in regions])))
    x, y = np.array(points).T
    at_limit = np.interp(limit, x, y)
    keep = x <= limit
    x, y = np.append(x[keep], limit), np.append(y[keep], at_limit)
    return float(np.trapezoid(y, x) / limit)


def pixels(images, cells, size):
    """`cells` and `size` are (width, height)."""
    heats, masks, grids = [], [], []
    for i in range(images):
        mask = np.zeros(size[::-1], np.uint8)
        for _ in range(RNG.integers(0, 4) if i else 2):
            x, y = RNG.integers(0, size[0] - 3), RNG.integers(0, size[1] - 3)
            w, h = RNG.integers(1, 9, 2)
            mask[y : y + h, x : x + w] = 255
        if i == 0:
            mask[:] = 0
            mask[2:4, 2:4] = 255
            mask[4:6, 4:6] = 255  # touches the other at a corner: one region
        hint = cv2.resize(mask.astype(np.float32) / 255, cells, interpolation=cv2.INTER_AREA)
        grid = np.round(RNG.gamma(2, 1, cells[::-1]) + 2 * hint, 3).astype(np.float32)
        grids.append(grid)
        masks.append(mask)
        heats.append(cv2.resize(grid, size, interpolation=cv2.INTER_LINEAR) if cells != size else grid)
    truth = np.concatenate([m.ravel() > 0 for m in masks])
    return {
        "cells": cells,
        "size": size,
        "heat": [[round(float(v), 3) for v in g.ravel()] for g in grids],
        "mask": ["".join("#" if v else "." for v in m.ravel()) for m in masks],
        "pixel_auroc": metrics.roc_auc_score(truth, np.concatenate([h.ravel() for h in heats])),
        "aupro": aupro(heats, masks),
    }


def iou(a, b):
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(w, 0) * max(h, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def average_precision(images, named):
    """Sorts the boxes of all images together and walks down the list, as PASCAL VOC's own evaluation does."""
    truths = [[t for t in im["truths"] if named in (None, t["class"])] for im in images]
    boxes = [(f["score"], i, f) for i, im in enumerate(images) for f in im["found"] if named in (None, f["class"])]
    taken, hits = set(), []
    for _, i, found in sorted(boxes, key=lambda b: -b[0]):
        free = [(iou(found["rect"], t["rect"]), j) for j, t in enumerate(truths[i]) if (i, j) not in taken]
        best = max(free, default=(0, None))
        hits.append(best[0] >= 0.33)
        if hits[-1]:
            taken.add((i, best[1]))
    n = sum(map(len, truths))
    tp, fp = np.cumsum(hits), np.cumsum(~np.array(hits, bool))
    recall, precision = np.append(0, tp / n), np.append(0, tp / (tp + fp))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:])), int(tp[-1]), int(fp[-1]), n - int(tp[-1])


def boxes(images):
    classes = ["open", "short", "spur"]
    made = []
    for _ in range(images):
        truths, found = [], []
        for _ in range(RNG.integers(1, 7)):
            rect = [int(v) for v in (*RNG.integers(0, 150, 2), *RNG.integers(10, 40, 2))]
            name = classes[RNG.integers(0, 3)]
            truths.append({"rect": rect, "class": name})
            for _ in range(RNG.integers(0, 3)):
                moved = [max(1, int(v + d)) for v, d in zip(rect, RNG.integers(-8, 9, 4))]
                said = name if RNG.random() < 0.7 else classes[RNG.integers(0, 3)]
                found.append({"rect": moved, "score": round(float(RNG.random()), 6), "class": said})
        for _ in range(RNG.integers(0, 4)):
            rect = [int(v) for v in (*RNG.integers(0, 150, 2), *RNG.integers(10, 40, 2))]
            found.append({"rect": rect, "score": round(float(RNG.random()) * 0.7, 6), "class": classes[RNG.integers(0, 3)]})
        made.append({"truths": truths, "found": found})
    any_class, hits, false_alarms, misses = average_precision(made, None)
    return {
        "images": made,
        "ap_033": any_class,
        "map_033": float(np.mean([average_precision(made, c)[0] for c in classes])),
        "hits": hits,
        "false_alarms": false_alarms,
        "misses": misses,
    }


def main():
    reference = {
        "made_with": {"numpy": np.__version__, "scipy": scipy.__version__, "scikit-learn": sklearn.__version__, "opencv": cv2.__version__},
        "ranking": [ranking(n, decimals) for n, decimals in [(30, 1), (80, 6), (200, 1), (200, 0)]],
        "naming": [naming(60)],
        "binomial": [binomial(h, n) for h, n in [(0, 16), (1, 16), (5, 100), (50, 100), (99, 100), (100, 100), (2, 2999)]],
        "pixels": [pixels(5, (24, 16), (24, 16)), pixels(4, (7, 5), (36, 22))],
        "boxes": [boxes(12), boxes(40)],
    }
    OUT.write_text(json.dumps(reference, separators=(",", ":")).replace("},{", "},\n{") + "\n")


if __name__ == "__main__":
    main()
