"""Puts a domain together: its eyes, its head and what its language adapter learned, in the one file that Loupe reads.

    python compose.py --domain crops --head HEAD_OUT [--see SEE_OUT] --checkpoint efficientnet-lite0.pth [--trained best.pt] --output DIR

Writes DOMAIN.safetensors, its card DOMAIN.md and its curves DOMAIN.svg. Eyes, connector and adapter are stored in 16 bits, head and
novelty, which are small, in 32. A domain without --trained sees by the published weights, which are not stored again; one without
--see does not speak.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import card
import curves
import domain
import sight

SCHEMA = "loupe.domain/1"
RESOLUTION_PX = 224


def eyes(encoder):
    """Returns the convolutions with batch norm folded in, by the names of the published checkpoint, in 16 bits."""
    tensors = {}
    for name, (weight, bias) in encoder.folded().items():
        tensors[f"eyes.{name}.weight"] = weight.half()
        tensors[f"eyes.{name}.bias"] = bias.half()
    return tensors


def header(arguments, head):
    """Returns what Loupe has to know beside the tensors."""
    labels = [asdict(label) for label in domain.labels_of(arguments.domain)]
    about = {"schema": SCHEMA, "domain": arguments.domain, "prompt": domain.QUESTIONS[0], "labels": labels}
    views = {} if head["views"] == "plain" else {"views": head["views"]}
    return {"loupe": json.dumps({**about, "resolution_px": RESOLUTION_PX, "temperature": head["temperature"], **views})}


def describe(arguments, head, trained):
    """Writes the card and its curves."""
    see = json.loads((arguments.see / "numbers.json").read_text()) if arguments.see else None
    if see and see["encoder"] != head["encoder"]:
        raise SystemExit(f"--see: expected numbers of the head's encoder {head['encoder']}, found {see['encoder']}")
    last = trained and trained.with_name("last.pt")
    eyes = torch.load(last, map_location="cpu", weights_only=True) if last and last.exists() else None
    size = (arguments.output / f"{arguments.domain}.safetensors").stat().st_size
    histories = [(name, run["history"]) for name, run in (("eyes", eyes), ("language model", see)) if run]
    (arguments.output / f"{arguments.domain}.md").write_text(card.card(arguments.domain, head, see, eyes, bool(trained), size))
    if histories:
        (arguments.output / f"{arguments.domain}.svg").write_text(curves.curves(histories))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("head", "checkpoint", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--see", type=Path, help="folder of see.py and show.py; without it, the domain does not speak")
    parser.add_argument("--trained", type=Path, help="best.pt of train.py; without it, the published weights")
    arguments = parser.parse_args()
    head = json.loads((arguments.head / "head.json").read_text())
    if head["refit"]:
        raise SystemExit("--head: expected one that the test parts have not taught, found a refit: its card would have no numbers")
    tensors = load_file(arguments.head / "head.safetensors")
    if arguments.see:
        tensors |= load_file(arguments.see / "domain.safetensors")
    if arguments.trained:
        checkpoint = torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)
        tensors |= eyes(sight.encoder_of(checkpoint, sight.trained_of(arguments.trained)))
    path = arguments.output / f"{arguments.domain}.safetensors"
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, header(arguments, head))
    describe(arguments, head, arguments.trained)
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
