"""Domains: which labels a domain knows, in which words it answers, and which pictures teach, choose and test it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import data

LABELS = Path(__file__).with_name("labels.json")
# The first is asked at run time, and most often while training.
QUESTIONS = (
    "What does the picture show?",
    "Name what you see and what is wrong with it.",
    "What is this, and is anything wrong?",
    "Look at the picture and report what it shows.",
)
FIRST_QUESTION_SHARE = 0.55
HEALTHY = "healthy"
# Of the five folds of cotton, the last is the test and the one before chooses.
COTTON_PARTS = {"fold3": data.VALIDATION, "fold4": data.TEST}


@dataclass(frozen=True)
class Label:
    """One answer of a domain. `id` is the class folder in `task`; `knowledge` an entry of the knowledge base, or None."""

    id: str
    task: str
    subject: str
    finding: str
    knowledge: str | None

    def answer(self):
        """Returns the line of JSON that the language model writes."""
        return json.dumps({"subject": self.subject, "finding": self.finding}, separators=(",", ":"))


@dataclass
class Examples:
    """The pictures of one task of a domain: `labels` are `[n]` indices into the domain's labels, `parts` `[n]` names."""

    pictures: data.Pictures
    labels: np.ndarray
    parts: np.ndarray

    def where(self, part):
        """Returns the indices of the pictures of a part."""
        return np.flatnonzero(self.parts == part)


def labels_of(domain):
    """Returns the labels of a domain, task by task."""
    tasks = json.loads(LABELS.read_text())[domain]
    return [Label(folder, task, *words) for task, folders in tasks.items() for folder, words in folders.items()]


def load(domain, root, output, refit):
    """Returns {task: Examples} of a domain."""
    labels = labels_of(domain)
    index = {(label.task, label.id): i for i, label in enumerate(labels)}
    result = {}
    for task in dict.fromkeys(label.task for label in labels):
        pictures = data.load(task, root, output)
        own = np.array([index[task, folder] for folder in pictures.classes])
        result[task] = Examples(pictures, own[pictures.labels], parts_of(data.TASKS[task], pictures.parts, refit))
    return result


def parts_of(task, parts, refit):
    """Returns the part of each picture; folds become one fixed split. In a refit the test part teaches: once it has measured a recipe,
    the weights that ship need not do without its pictures."""
    if task.held_out_by == "folds":
        parts = np.array([COTTON_PARTS.get(str(part), data.TRAIN) for part in parts])
    return np.where(parts == data.TEST, data.TRAIN, parts) if refit else parts


def judging_part(refit):
    """Returns the part that numbers are of: in a refit no other is left than the one that chose."""
    return data.VALIDATION if refit else data.TEST


def is_right(labels, task, given, answered):
    """Returns whether each answer is right, `[n]` bool: the same label; of cotton, healthy or not, whatever the words."""
    if data.TASKS[task].held_out_by != "folds":
        return given == answered
    healthy = np.array([label.finding == HEALTHY for label in labels])
    own = np.array([label.task == task for label in labels])
    return own[answered] & (healthy[given] == healthy[answered])
