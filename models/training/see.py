"""Teaches the language model to see: trains the connector and the adapters of one domain; survives a kill and goes on.

    python see.py --domain crops --data DATA --checkpoint efficientnet-lite0.pth --language SmolLM2.gguf --output DIR
                  [--trained best.pt]

The encoder is frozen. The connector starts from a linear probe: it writes the words of the labels
into the image tokens as strongly as the probe believes in them, so that the first steps need not search.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

import answer
import data
import domain
import language
import measure
import sight
from train import write

BATCH = 8
WARM_UP_STEPS = 20
EMA_DECAY = 0.97
WEIGHT_DECAY = 0.01
GRADIENT_NORM = 1.0
# Half of a picture's cells teach nearly as much in two thirds of the time; the last rounds see all of them.
KEPT_CELLS_RATIO, WHOLE_PICTURES_AFTER = 0.5, 0.65
PROBE_PENALTY = 1e-2
# Dead values of the encoder are not blown up to unit deviation.
LEAST_DEVIATION = 0.02
TOKEN_NORM_RATIO = 1.0


class Material:
    """What a domain learns from: labels, examples and sights by task, and the words around them."""

    def __init__(self, options):
        checkpoint = torch.load(options.checkpoint, map_location="cpu", weights_only=True)
        self.encoder = sight.encoder_of(checkpoint, sight.trained_of(options.trained))
        self.labels = domain.labels_of(options.domain)
        self.examples = domain.load(options.domain, options.data, options.output, options.refit)
        self.sights = sight.load(self.encoder, self.examples, options.output)

    def cells(self, task, index):
        """Returns f32 `[cells, 3968]` of a plain picture."""
        return torch.from_numpy(self.sights[task][index].astype(np.float32))

    def new_views(self, rows, random):
        """Returns a list of f32 `[cells, 3968]` for rows of (task, index, ...), each of a new view."""
        views = {}
        for task in sorted({row[0] for row in rows}):
            places = [place for place, row in enumerate(rows) if row[0] == task]
            indices = np.array([rows[place][1] for place in places])
            views.update(zip(places, sight.augmented(self.encoder, task, self.examples[task].pictures, indices, random)))
        return [views[place] for place in range(len(rows))]

    def means(self, part):
        """Returns (`[n, 1952]` mean features, `[n]` label indices) of a part."""
        rows, labels = [], []
        for task, examples in self.examples.items():
            chosen = examples.where(part)
            rows += [sight.means(self.cells(task, index)[None]) for index in chosen]
            labels.append(torch.from_numpy(examples.labels[chosen]))
        return torch.cat(rows), torch.cat(labels)


def draw(material, random, steps):
    """Returns batches of (task, index, question). A class weighs as the root of its pictures: rare ones more than their
    share, but no picture of theirs is seen too often."""
    members = [(task, examples.where(data.TRAIN)[examples.labels[examples.where(data.TRAIN)] == label])
               for task, examples in material.examples.items() for label in np.unique(examples.labels)]
    weights = np.sqrt([len(indices) for _, indices in members])
    classes = random.permutation(np.repeat(np.arange(len(members)), shares(weights, steps * BATCH)))
    rows = []
    for chosen in classes:
        task, indices = members[chosen]
        question = 0 if random.random() < domain.FIRST_QUESTION_SHARE else int(random.integers(1, len(domain.QUESTIONS)))
        rows.append((task, int(random.choice(indices)), domain.QUESTIONS[question]))
    return [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]


def shares(weights, total):
    """Returns whole numbers in the ratio of the weights, with that total."""
    ends = np.round(np.cumsum(weights) / np.sum(weights) * total).astype(int)
    return np.diff(ends, prepend=0)


def start_connector(reader, words, material):
    """Sets the connector: the evidence of a probe for each label, times the direction of the label's words, in every cell."""
    features, labels = material.means(data.TRAIN)
    weight, bias = measure.probe(features, labels, len(material.labels), PROBE_PENALTY)
    evidence = features @ weight.T + bias
    centre = evidence.mean(0)
    directions = label_directions(reader, words, material.labels)
    texture, shape = weight[:, : weight.shape[1] - 1280] / 4, weight[:, weight.shape[1] - 1280 :]
    by_cell = torch.cat([texture] * 4 + [shape], 1)
    drawn = (evidence - centre) @ directions
    norm = reader.language.embedding.norm(dim=1).mean()
    factor = TOKEN_NORM_RATIO * norm / drawn.norm(dim=1).mean()
    raw = factor * directions.T @ by_cell
    reader.connector.weight.data.copy_(raw * reader.deviation)
    reader.connector.bias.data.copy_(raw @ reader.mean + factor * (bias - centre) @ directions)


def label_directions(reader, words, labels):
    """Returns `[labels, hidden]`: the centred embeddings of the tokens of subject and finding."""
    rows = [[reader.embedded(words.ids(text)).mean(0) for text in (label.subject, label.finding)] for label in labels]
    parts = torch.stack([torch.stack(pair) for pair in rows])
    return (parts - parts.mean(0)).sum(1)


@torch.inference_mode()
def scores_of(reader, words, material, task, indices, change=None):
    """Returns `[n, labels]` log-probabilities of pictures; `change` puts other cells in place of a batch's."""
    rows = []
    for start in range(0, len(indices), 2 * BATCH):
        cells = torch.stack([material.cells(task, index) for index in indices[start : start + 2 * BATCH]])
        rows.append(answer.label_scores(reader, words, change(cells) if change else cells, domain.QUESTIONS[0]))
    return torch.cat(rows)


def validate(reader, words, material):
    """Returns {task: (accuracy, loss)} on the validation parts; all labels of the domain are open to every picture."""
    result = {}
    for task, examples in material.examples.items():
        chosen = examples.where(data.VALIDATION)
        given = examples.labels[chosen]
        scores = scores_of(reader, words, material, task, chosen)
        right = domain.is_right(material.labels, task, given, scores.argmax(1).numpy())
        result[task] = (float(right.mean()), float(-scores[torch.arange(len(given)), torch.from_numpy(given)].mean()))
    return result


def rate(step, steps):
    """Returns the share of the full rate: linear warm-up, then a cosine."""
    return min(1.0, (step + 1) / WARM_UP_STEPS) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))


class Run:
    """Everything that a checkpoint holds."""

    def __init__(self, reader, options):
        self.reader, self.options = reader, options
        groups = [{"params": list(reader.connector.parameters()), "lr": options.connector_rate},
                  {"params": list(reader.language.parameters()), "lr": options.adapter_rate}]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: rate(step, options.rounds * options.steps))
        self.average = trained_state(reader)
        self.round, self.history = 0, []

    def save(self, path):
        names = ("optimizer", "scheduler")
        state = {"reader": trained_state(self.reader), **{name: getattr(self, name).state_dict() for name in names}}
        write(path, {**state, "average": self.average, "round": self.round, "history": self.history})

    def load(self, path):
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.reader.load_state_dict(state["reader"])
        for name in ("optimizer", "scheduler"):
            getattr(self, name).load_state_dict(state[name])
        self.average, self.round, self.history = state["average"], state["round"], state["history"]

    def average_in(self):
        """Moves the average towards the weights, faster in the first steps, when it still remembers the start."""
        steps = self.scheduler.last_epoch
        decay = min(EMA_DECAY, (1 + steps) / (10 + steps))
        for name, value in self.reader.named_parameters():
            self.average[name].lerp_(value.detach(), 1 - decay)


def trained_state(reader):
    """Returns a copy of the trained parameters and of how cells are standardised."""
    return {name: value.detach().clone() for name, value in reader.state_dict().items()}


def lessons_of(material, rows, kept_ratio, random):
    """Returns a lesson for each row of (task, index, question), with a share of the cells of a new view."""
    lessons = []
    for (task, index, question), cells in zip(rows, material.new_views(rows, random)):
        kept = torch.from_numpy(np.sort(random.permutation(len(cells))[: math.ceil(kept_ratio * len(cells))]))
        lessons.append(answer.Lesson(cells[kept], kept, len(cells), question, int(material.examples[task].labels[index])))
    return lessons


def train_step(run, words, lessons):
    """Returns the loss of a batch, after a step along its gradient."""
    loss = answer.answer_loss(run.reader, words, lessons)
    run.optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.reader.parameters(), GRADIENT_NORM)
    run.optimizer.step()
    run.scheduler.step()
    run.average_in()
    return float(loss.detach())


def train_round(run, words, material):
    """Returns the mean loss of a round of steps. What it draws depends on seed and round alone, so a resumed run is the same run."""
    random = np.random.default_rng([run.options.seed, run.round])
    kept_ratio = KEPT_CELLS_RATIO if run.round < WHOLE_PICTURES_AFTER * run.options.rounds else 1.0
    steps, losses, started = run.options.steps, [], time.monotonic()
    for done, rows in enumerate(draw(material, random, steps), 1):
        losses.append(train_step(run, words, lessons_of(material, rows, kept_ratio, random)))
        if done % 10 == 0:
            pace = (time.monotonic() - started) / done
            left = pace * (steps * (run.options.rounds - run.round) - done)
            print(f"round {run.round + 1} of {run.options.rounds}, step {done} of {steps}: loss {np.mean(losses[-10:]):.3f},"
                  f" {BATCH / pace:.2f} pictures a second, {left / 60:.1f} minutes left", flush=True)
    return float(np.mean(losses))


def train(run, words, material):
    last, best = run.options.output / "last.pt", run.options.output / "best.pt"
    judge = copy.deepcopy(run.reader).eval()
    while run.round < run.options.rounds:
        started = time.monotonic()
        loss = train_round(run, words, material)
        run.round += 1
        judge.load_state_dict(run.average)
        scores = validate(judge, words, material)
        run.history.append({"round": run.round, "loss": loss, "validation": scores, "seconds": time.monotonic() - started})
        print(json.dumps(run.history[-1]), flush=True)
        best_round = min(run.history, key=validation_loss)["round"]
        if best_round == run.round:
            write(best, {"reader": run.average, "round": run.round})
        run.save(last)
        if run.round - best_round >= run.options.patience:
            print(f"no better validation loss for {run.round - best_round} rounds: done", flush=True)
            return


def validation_loss(entry):
    return sum(loss for _, loss in entry["validation"].values()) / len(entry["validation"])


def new_reader(options, material):
    """Returns (reader, words), the connector still random."""
    settings, tensors = language.read(options.language)
    words = answer.Words(language.tokenizer(settings), material.labels)
    mean, deviation = sight.scale(material.sights, material.examples)
    return answer.Reader(language.Language(settings, tensors), mean, deviation + LEAST_DEVIATION), words


def start_adapters(reader, path):
    """Takes the adapters of a domain's file."""
    stored = load_file(path)
    reader.language.load_state_dict({name: stored[name].float() for name, _ in reader.language.named_parameters()})


def start_as(reader, path):
    """Takes connector and adapters of a domain's file that has the same eyes."""
    start_adapters(reader, path)
    weight, bias = (load_file(path)[f"connector.{name}"].float() for name in ("weight", "bias"))
    reader.connector.weight.data.copy_(weight * reader.deviation)
    reader.connector.bias.data.copy_(bias + weight @ reader.mean)


def options(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", required=True, choices=json.loads(domain.LABELS.read_text()))
    for name in ("data", "checkpoint", "language", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--trained", type=Path, help="best.pt of train.py, or a domain's file for its eyes; without it, the published encoder")
    parser.add_argument("--start", type=Path, help="domain's file whose adapters are gone on from, and where its eyes are taken, too, its connector")
    parser.add_argument("--refit", action="store_true", help="let the test parts teach as well")
    for name, default in (("rounds", 6), ("steps", 80), ("patience", 4), ("seed", 0), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("connector-rate", 2e-4), ("adapter-rate", 1e-3)):
        parser.add_argument(f"--{name}", type=float, default=default)
    return parser.parse_args()


def main():
    chosen = options(__doc__)
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(chosen.seed)
    chosen.output.mkdir(parents=True, exist_ok=True)
    material = Material(chosen)
    reader, words = new_reader(chosen, material)
    run, last = Run(reader, chosen), chosen.output / "last.pt"
    if last.exists():
        run.load(last)
        print(f"going on after round {run.round}", flush=True)
    else:
        if chosen.start and chosen.start == chosen.trained:
            start_as(reader, chosen.start)
        else:
            start_connector(reader, words, material)
            if chosen.start:
                start_adapters(reader, chosen.start)
        run.average = trained_state(reader)
        print("before training:", json.dumps(validate(reader, words, material)), flush=True)
    train(run, words, material)


if __name__ == "__main__":
    main()
