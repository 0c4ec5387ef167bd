"""The model card of a domain, from what the steps of its training wrote."""

import json

LICENCES = {
    "plantvillage_15": "PlantVillage, 15 classes; statements conflict, CC BY-SA 3.0 in its paper",
    "coffee_leaf_bracol": "BRACOL coffee leaves; MIT",
    "cotton_field": "cotton leaves and plants in the field; licence not stated",
    "neu_det": "NEU surface defects; free for research",
}
# What else is to be known of what was learned from a data set.
LIMITS = {
    "plantvillage_15": """Leaves on a plain background say nothing about leaves in the field.""",
    "cotton_field": """`diseased` of cotton names no disease: the leaves show pale papery patches, some with winding lines, the plants crinkled yellowish
  tips, and no laboratory says what they have. Leaf miner or scorch is at least as likely as an infection, and cotton with the spots of a
  textbook may pass for healthy.""",
}
# Those with living things in them.
PLANTS = {"plantvillage_15", "coffee_leaf_bracol", "cotton_field"}
COLOURS = ("#555", "#0a7", "#b50", "#05c")


def curves(histories, width=480, height=200):
    """Returns an SVG of the validation accuracies by epoch or round; `histories` are (name, entries of a history)."""
    lines = {}
    for name, history in histories:
        for task in history[0]["validation"]:
            lines[f"{name} {task}"] = [entry["validation"][task][0] for entry in history]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 260} {height + 20}" font-family="sans-serif" font-size="11">']
    for row, (name, values) in enumerate(lines.items()):
        xs = [10 + (width - 20) * i / max(1, len(values) - 1) for i in range(len(values))]
        points = " ".join(f"{x:.1f},{10 + height * (1 - v):.1f}" for x, v in zip(xs, values))
        dash = "" if name.startswith("eyes") else ' stroke-dasharray="4 3"'
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[row % len(COLOURS)]}"{dash}/>')
        parts.append(f'<text x="{width}" y="{20 + 16 * row}" fill="{COLOURS[row % len(COLOURS)]}">{name} {values[-1]:.3f}</text>')
    return "\n".join([*parts, "</svg>\n"])


def row(name, numbers):
    low, high = numbers["accuracy_95"]
    return (f"| {name} | {numbers['n_images']} | {numbers['accuracy']:.3f} | {low:.3f} to {high:.3f}"
            f" | {numbers['calibration_error']:.3f} |")


def tables(head, see):
    """Returns the test tables of the head and, where it was trained, of the language model and its ablations."""
    lines = ["| test part | pictures | accuracy | 95 % | calibration error |", "|---|---|---|---|---|"]
    for task, numbers in head["measured"].items():
        lines.append(row(f"{task}, head", numbers))
        if see:
            spoken = see["tasks"][task]
            lines.append(row(f"{task}, language model", spoken))
            lines.append(row(f"{task}, language model, picture blanked", spoken["ablations"]["blank"]))
            lines.append(row(f"{task}, language model, picture of another", spoken["ablations"]["shuffled"]))
    return "\n".join(lines)


def confusions(see):
    """Returns the confusion matrices of the language model's answers, true classes in rows."""
    parts = []
    for task, numbers in (see["tasks"] if see else {}).items():
        lines = [f"{name:46} " + " ".join(f"{n:3}" for n in counts) for name, counts in zip(numbers["labels"], numbers["confusion"])]
        parts.append(f"### {task}\n\n```\n" + "\n".join(lines) + "\n```")
    return "\n\n".join(parts)


def trained_how(eyes, see, has_own_eyes):
    """Returns a sentence for each step of the training."""
    lines = []
    if has_own_eyes and not eyes:
        lines.append("- Eyes: those of the domain before, EfficientNet-Lite0 (Apache-2.0, ImageNet) fine-tuned on the train parts alone: README.md of"
                     " `models/training`.")
    elif eyes:
        seconds = sum(entry["seconds"] for entry in eyes["history"])
        lines.append(f"- Eyes: EfficientNet-Lite0 (Apache-2.0, ImageNet), fine-tuned by `train.py`: {json.dumps(eyes['options'])}; "
                     f"{len(eyes['history'])} epochs, {seconds / 60:.0f} minutes on two cores.")
    else:
        lines.append("- Eyes: EfficientNet-Lite0 (Apache-2.0, ImageNet) as published.")
    lines.append("- Head: logistic regression on plain and augmented views by `head.py`; the validation part chose penalty and temperature.")
    if see:
        lines.append(f"- Connector and rank-8 adapter of SmolLM2-135M (Apache-2.0; its 4-bit weights stay as they are) by `see.py`: "
                     f"{json.dumps(see['options'])}; best of {len(see['history'])} rounds, {see['seconds'] / 60:.0f} minutes on two cores.")
    return "\n".join(lines)


def limits(tasks):
    """Returns what a domain of these data sets cannot do, a line of a list each."""
    lines = ["Its pictures are of few places and cameras; elsewhere it does worse, and nobody knows how much."]
    lines += [text for task, text in LIMITS.items() if task in tasks]
    known = "disease that it has never seen on a crop" if PLANTS & set(tasks) else "defect that it has never seen on a part"
    lines.append(f"""A probability holds for pictures taken as those were that it learned from. What is unlike them is said to be so (`familiarity`), but a
  {known} that it knows may get the name of another.""")
    if PLANTS & set(tasks):
        lines.append("A photograph cannot confirm a pathogen.")
    return "\n".join(f"- {line}" for line in lines)


def picture(domain, history):
    return f"![validation accuracy]({domain}.svg)\n" if history else ""


def card(domain, head, see, eyes, has_own_eyes, bytes_):
    """Returns the card as Markdown."""
    sets = "\n".join(f"- {LICENCES[task]}" for task in head["measured"])
    cotton = ["Of cotton, healthy or diseased counts, whatever else is said."] if "cotton_field" in head["measured"] else []
    rest = "".join(f"{part}\n\n" for part in [*cotton, confusions(see)] if part)
    return f"""# Model card: {domain}

Names what a picture shows. {bytes_ / 1e6:.1f} MB, safetensors; eyes, connector and adapter in 16 bits, head in 32. Pictures are scaled to about 224 x 224
pixels, aspect kept. Written by `models/training/compose.py`.

## Data
{sets}

Train parts alone taught it. Where files carry the camera's counter, each class is cut into ranges of it, so that no leaf is in two parts;
otherwise a hash of the name decides (`data.py`). The test parts chose nothing.

## Training
{trained_how(eyes, see, has_own_eyes)}

{picture(domain, eyes or see)}
## Test parts
By the recipe, in PyTorch. `loupe eval` scales the same pictures by itself and may name one or two of them otherwise (docs/accuracy.md).

{tables(head, see)}

{rest}## Limits
{limits(head["measured"])}
"""
