"""Prompts and answers of the language model with a picture between its tokens, and the choice among a domain's labels."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

BEFORE_PICTURE = "<|im_start|>user\n"
AFTER_PICTURE = "\n{question}<|im_end|>\n<|im_start|>assistant\n"
END = "<|im_end|>"


class Reader(nn.Module):
    """The language model with the connector from cells to its embeddings, `[3968]` to `[hidden]`. Cells are standardised first."""

    def __init__(self, language, mean, deviation):
        super().__init__()
        self.language = language
        self.connector = nn.Linear(len(mean), language.embedding.shape[1])
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def image_tokens(self, cells):
        """Returns `[batch, cells, hidden]` of cells `[batch, cells, 3968]`."""
        return self.connector((cells - self.mean) / self.deviation)

    def embedded(self, ids):
        """Returns `[length, hidden]` of a list of token ids."""
        return self.language.embedding[torch.tensor(ids)]

    def folded_connector(self):
        """Returns (weight `[hidden, 3968]`, bias `[hidden]`) of a connector of cells as the encoder gives them."""
        weight = self.connector.weight.detach() / self.deviation
        return weight, self.connector.bias.detach() - weight @ self.mean


class Words:
    """The token ids of everything that is said around a picture."""

    def __init__(self, tokenizer, labels):
        self.ids = lambda text: tokenizer.encode(text).ids
        self.before = self.ids(BEFORE_PICTURE)
        self.answers = [self.ids(label.answer() + END) for label in labels]
        self.tree = tree_of(self.answers)

    def after(self, question):
        return self.ids(AFTER_PICTURE.format(question=question))


@dataclass
class Tree:
    """The answers as a tree. Tokens behind which only one answer is left are cut off.

    `tokens`, `parents` (-1: the prompt) and `depths` (from 0) are of the nodes, parents first; `branches` are (node or -1, token
    ids that may follow); `paths` hold for each label the (branch, which of its ids) that lead to it."""

    tokens: list[int]
    parents: list[int]
    depths: list[int]
    branches: list[tuple[int, list[int]]]
    paths: list[list[tuple[int, int]]]


def tree_of(answers):
    """Returns the tree of lists of token ids, none of which begins another."""
    tree = Tree([], [], [], [], [[] for _ in answers])

    def grow(node, depth, alive):
        following = sorted({answers[label][depth] for label in alive})
        if len(following) > 1:
            tree.branches.append((node, following))
            for label in alive:
                tree.paths[label].append((len(tree.branches) - 1, following.index(answers[label][depth])))
        for token in following:
            rest = [label for label in alive if answers[label][depth] == token]
            if len(rest) > 1:
                tree.tokens.append(token), tree.parents.append(node), tree.depths.append(depth)
                grow(len(tree.tokens) - 1, depth + 1, rest)

    grow(-1, 0, list(range(len(answers))))
    return tree


def tree_mask(tree, prompt):
    """Returns `[length, length]` bool: the prompt sees what was before, a node sees the prompt, its ancestors and itself."""
    length = prompt + len(tree.tokens)
    mask = torch.zeros(length, length, dtype=torch.bool)
    mask[:, :prompt] = torch.ones(length, prompt, dtype=torch.bool).tril()
    for node, parent in enumerate(tree.parents):
        if parent >= 0:
            mask[prompt + node] = mask[prompt + parent]
        mask[prompt + node, prompt + node] = True
    return mask


def label_scores(reader, words, cells, question):
    """Returns `[batch, labels]` log-probabilities of the labels of cells `[batch, cells, 3968]` when the answer is held to the
    tree. All answers are read in one pass: nodes beside each other do not see each other."""
    tree, image = words.tree, reader.image_tokens(cells)
    around = [reader.embedded(ids).expand(len(cells), -1, -1) for ids in (words.before, [*words.after(question), *tree.tokens])]
    x = torch.cat([around[0], image, around[1]], 1)
    prompt = x.shape[1] - len(tree.tokens)
    positions = torch.cat([torch.arange(prompt), prompt + torch.tensor(tree.depths, dtype=torch.int64)])
    states = reader.language(x, positions, tree_mask(tree, prompt))
    steps = [F.log_softmax(reader.language.logits_of(states[:, prompt + node], following), -1) for node, following in tree.branches]
    return torch.stack([sum(steps[branch][:, which] for branch, which in path) for path in tree.paths], 1)


@dataclass
class Lesson:
    """One picture to learn from: `cells` `[kept, 3968]`, which cells of the picture they are, `kept` of `count`, the question and
    the index of the label."""

    cells: torch.Tensor
    kept: torch.Tensor
    count: int
    question: str
    label: int


def row_of(reader, words, lesson, image):
    """Returns (embeddings `[length, hidden]`, positions `[length]`) of a lesson with its answer but for the last token. Cells that
    were left out leave gaps, so that all else stands where it stands with them."""
    text = [*words.after(lesson.question), *words.answers[lesson.label][:-1]]
    before = len(words.before)
    positions = [torch.arange(before), before + lesson.kept, before + lesson.count + torch.arange(len(text))]
    return torch.cat([reader.embedded(words.before), image, reader.embedded(text)]), torch.cat(positions)


def answer_loss(reader, words, lessons):
    """Returns the mean over the lessons of the summed cross-entropies of the answer's tokens."""
    images = reader.image_tokens(torch.cat([lesson.cells for lesson in lessons])).split([len(lesson.cells) for lesson in lessons])
    rows, positions = zip(*(row_of(reader, words, lesson, image) for lesson, image in zip(lessons, images)))
    answers = [words.answers[lesson.label] for lesson in lessons]
    # Padded on the right, where no token that counts looks.
    x, positions = (nn.utils.rnn.pad_sequence(parts, batch_first=True) for parts in (rows, positions))
    states = reader.language(x, positions[:, None])
    said = torch.cat([state[len(row) - len(ids) : len(row)] for state, row, ids in zip(states, rows, answers)])
    return F.cross_entropy(reader.language.logits(said), torch.tensor(sum(answers, [])), reduction="sum") / len(lessons)
