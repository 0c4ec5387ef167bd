"""Measures what see.py trained, with the picture, without it and with another's, and writes the domain's file for Loupe.

    python show.py --domain crops --data DATA --checkpoint efficientnet-lite0.pth --language SmolLM2.gguf --output DIR
                   [--trained best.pt]

DIR is see.py's. `domain.safetensors` holds f16 `connector.weight` [hidden, 3968], `connector.bias`, `layers.N.qkv.down` and `.up`,
`layers.N.output.down` and `.up` (added are up (down x), rows in the GGUF file's order); its metadata say what may be answered.
"""

import hashlib
import json
import time
from dataclasses import asdict

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

import answer
import data
import domain
import measure
import see
import sight

GREY = 127
# Chance shows in few pictures.
SHUFFLED = 64
SCHEMA = "loupe.domain/1"
FIXTURE_SIDE_PX, FIXTURE_SEED = 224, 20261122


def tensors(reader):
    """Returns the shipped tensors by name, f16, the standardisation folded into the connector."""
    weight, bias = reader.folded_connector()
    adapters = {name: value.detach() for name, value in reader.language.named_parameters()}
    return {n: t.half().contiguous() for n, t in {"connector.weight": weight, "connector.bias": bias, **adapters}.items()}


def as_shipped(reader):
    """Rounds the trained values to what is shipped, so that what is measured is what users get."""
    for parameter in reader.language.parameters():
        parameter.data = parameter.data.half().float()
    weight, bias = (value.half().float() for value in reader.folded_connector())
    reader.mean.zero_(), reader.deviation.fill_(1)
    reader.connector.weight.data, reader.connector.bias.data = weight, bias


def metadata(name, labels):
    """Returns what Loupe has to know beside the tensors."""
    about = {"schema": SCHEMA, "domain": name, "prompt": domain.QUESTIONS[0], "labels": [asdict(label) for label in labels]}
    return {"loupe": json.dumps(about)}


def report(material, task, indices, scores):
    """Returns the numbers of one task by log-probabilities `[n, labels]`. Accuracy of cotton is healthy against diseased, all else is
    of labels."""
    given = material.examples[task].labels[indices]
    answered = scores.argmax(1).numpy()
    right = domain.is_right(material.labels, task, given, answered)
    own = [i for i, label in enumerate(material.labels) if label.task == task]
    confusion = [[int(((given == row) & (answered == column)).sum()) for column in own] for row in own]
    loss = -scores[torch.arange(len(given)), torch.from_numpy(given)].mean()
    return {"n_images": len(given), "accuracy": float(right.mean()), "accuracy_95": measure.interval(right.astype(float)),
            "loss": float(loss), "calibration_error": measure.calibration_error(scores.exp(), torch.from_numpy(given)),
            "labels": [material.labels[i].id for i in own], "confusion": confusion,
            "answers_of_other_tasks": int(sum(material.labels[a].task != task for a in answered))}


def grey_cells(material, task):
    """Returns `[cells, 3968]` of a picture without anything on it."""
    width, height = data.TASKS[task].input_size
    with torch.inference_mode():
        return sight.cells(material.encoder, torch.full((1, 3, height, width), float(GREY)))[0].half().float()


def ablations(reader, words, material, task, indices):
    """Returns the numbers with a grey picture and with each picture's place taken by another of the task."""
    grey, random = grey_cells(material, task), np.random.default_rng(0)
    blank = see.scores_of(reader, words, material, task, indices[:1], lambda cells: grey.expand(len(cells), -1, -1))
    chosen = random.permutation(indices)[:SHUFFLED]
    others = np.roll(chosen, 1)
    shuffled = see.scores_of(reader, words, material, task, others)
    return {"blank": report(material, task, indices, blank.expand(len(indices), -1)),
            "shuffled": report(material, task, chosen, shuffled),
            "blank_answer": material.labels[int(blank[0].argmax())].answer()}


def head_choices(material, trained, task, indices):
    """Returns the label indices that the encoder's own head chooses, `[n]`, or None where it has no head for the task."""
    if trained is None or task not in trained["classes_by_task"]:
        return None
    head = {name: trained["eyes"][f"heads.{task}.{name}"] for name in ("weight", "bias")}
    features = torch.cat([sight.means(material.cells(task, index)[None]) for index in indices])
    chosen = (features @ head["weight"].T + head["bias"]).argmax(1)
    ids = {label.id: i for i, label in enumerate(material.labels) if label.task == task}
    return np.array([ids[material.examples[task].pictures.classes[c]] for c in chosen])


def measured(reader, words, material, trained, part):
    """Returns the numbers of all tasks on a part."""
    table = {}
    for task, examples in material.examples.items():
        indices = examples.where(part)
        started = time.monotonic()
        scores = see.scores_of(reader, words, material, task, indices)
        table[task] = {**report(material, task, indices, scores), "seconds": time.monotonic() - started}
        chosen = head_choices(material, trained, task, indices)
        if chosen is not None:
            table[task]["agreement_with_head"] = float((chosen == scores.argmax(1).numpy()).mean())
            table[task]["head_accuracy"] = float((chosen == examples.labels[indices]).mean())
        show(task, table[task])
        table[task]["ablations"] = ablations(reader, words, material, task, indices)
        for name in ("blank", "shuffled"):
            show(f"{task}, {name}", table[task]["ablations"][name])
    return table


def validated(material, entry):
    """Returns the validation accuracies of a round of see.py with their intervals."""
    table = {}
    for task, (accuracy, loss) in entry["validation"].items():
        count = len(material.examples[task].where(data.VALIDATION))
        right = np.arange(count) < round(accuracy * count)
        table[task] = {"n_images": count, "accuracy": accuracy, "accuracy_95": measure.interval(right.astype(float)), "loss": loss}
    return table


def show(name, row):
    low, high = row["accuracy_95"]
    print(f"{name:28} n {row['n_images']:4} accuracy {row['accuracy']:.3f} [{low:.3f}, {high:.3f}] ECE {row['calibration_error']:.3f}"
          + (f" agreement {row['agreement_with_head']:.3f}" if "agreement_with_head" in row else ""), flush=True)


def fixture_picture():
    """Returns `[224, 224, 3]` bytes: gradients, a few soft dots and noise. It shows nothing of any data set."""
    random = np.random.default_rng(FIXTURE_SEED)
    rows, columns = np.mgrid[0:FIXTURE_SIDE_PX, 0:FIXTURE_SIDE_PX] / FIXTURE_SIDE_PX
    pixels = np.stack([160 * rows + 40, 180 * columns + 30, 120 * (1 - rows) + 60 * columns], -1)
    for centre in random.uniform(0.1, 0.9, (12, 2)):
        distance = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2
        pixels -= 90 * np.exp(-distance / 0.002)[..., None] * random.uniform(0.2, 1, 3)
    return (pixels + random.normal(0, 8, pixels.shape)).clip(0, 255).astype(np.uint8)


@torch.inference_mode()
def fixture(reader, words, material, folder):
    """Writes what every stage makes of one made picture: for the Rust side to compare with."""
    picture = fixture_picture()
    Image.fromarray(picture).save(folder / "parity.png")
    pixels = torch.from_numpy(picture)[None].permute(0, 3, 1, 2).float()
    texture, shape = material.encoder.maps(pixels)
    cells = sight.cells(material.encoder, pixels)
    tokens = reader.image_tokens(cells)
    for name, value in (("texture", texture.permute(0, 2, 3, 1)[0]), ("shape", shape.permute(0, 2, 3, 1)[0]), ("cells", cells[0]),
                        ("tokens", tokens[0])):
        np.save(folder / f"parity-{name}.npy", value.contiguous().numpy())
    question = domain.QUESTIONS[0]
    scores = answer.label_scores(reader, words, cells, question)[0]
    every = torch.arange(len(cells[0]))
    full = [float(-answer.answer_loss(reader, words, [answer.Lesson(cells[0], every, len(every), question, label)]))
            for label in range(len(material.labels))]
    about = {"before_ids": words.before, "after_ids": words.after(question), "encoder": sight.fingerprint(material.encoder),
             "texture_first": texture[0, :8, 0, 0].tolist(), "shape_first": shape[0, :8, 0, 0].tolist(),
             "token_first": tokens[0, 0, :8].tolist(), "first_logits": first_logits(reader, words, tokens),
             "labels": [{"answer": label.answer(), "ids": ids, "log_probability_held_to_labels": float(score), "log_likelihood": total}
                        for label, ids, score, total in zip(material.labels, words.answers, scores, full)]}
    (folder / "parity.json").write_text(json.dumps(about, indent=1))


def first_logits(reader, words, tokens):
    """Returns the ten likeliest first tokens of the answer and their logits, nothing held back."""
    x = torch.cat([reader.embedded(words.before), tokens[0], reader.embedded(words.after(domain.QUESTIONS[0]))])
    top = reader.language.logits(reader.language(x[None])[0, -1]).topk(10)
    return [[int(token), float(value)] for value, token in zip(top.values, top.indices)]


def main():
    chosen = see.options(__doc__)
    torch.set_num_threads(chosen.threads)
    material = see.Material(chosen)
    reader, words = see.new_reader(chosen, material)
    state, last = (torch.load(chosen.output / name, map_location="cpu", weights_only=True) for name in ("best.pt", "last.pt"))
    reader.load_state_dict(state["reader"])
    as_shipped(reader.eval())
    path = chosen.output / "domain.safetensors"
    save_file(tensors(reader), path, metadata(chosen.domain, material.labels))
    fixture(reader, words, material, chosen.output)
    trained = sight.trained_of(chosen.trained)
    numbers = {"domain": chosen.domain, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "best_round": state["round"],
               "encoder": sight.fingerprint(material.encoder), "pictures_a_round": see.BATCH * chosen.steps,
               "seconds": sum(entry["seconds"] for entry in last["history"]), "history": last["history"],
               "validation": validated(material, last["history"][state["round"] - 1]),
               "options": {**{name: value for name, value in vars(chosen).items() if isinstance(value, (int, float, str))},
                           **({"start": "the domain before"} if chosen.start else {})},
               "tasks": measured(reader, words, material, trained, domain.judging_part(chosen.refit))}
    (chosen.output / "numbers.json").write_text(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()
