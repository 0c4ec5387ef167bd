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
    """Returns the confusion matrices of the language model's answers."""
    matrices = [matrix(task, numbers["labels"], numbers["confusion"]) for task, numbers in (see["tasks"] if see else {}).items()]
    legend = "Answers of the language model: pictures by what they show (rows) and by what was said (columns, by the number of the class)."
    return "\n\n".join([legend, *matrices]) if matrices else ""


def matrix(task, labels, confusion):
    """Returns one confusion matrix, true classes in rows, whose columns have the numbers of these."""
    lines = [" " * 50 + " ".join(f"{number:3}" for number in range(1, len(labels) + 1))]
    lines += [f"{number:2} {label:46} " + " ".join(f"{n:3}" for n in counts) for number, (label, counts) in enumerate(zip(labels, confusion), 1)]
    return f"### {task}\n\n```\n" + "\n".join(lines) + "\n```"


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
    if head["views"] != "plain":
        lines.append("- It judges by the mean of a picture's description and that of the picture upside down (`views`); strangers are told by the first alone.")
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
