"""Linear probes, temperatures and the numbers of the table. Nothing here sees pixels."""

import numpy as np
import torch
from torch.nn import functional as F

BINS = 15
RESAMPLES = 2000


def logistic(x, labels, classes, penalty, iterations, start=None):
    """Returns (weight, bias) of a class-balanced logistic regression on standardised rows `[n, dim]`, from `start` on if given."""
    weight, bias = start or (torch.zeros(classes, x.shape[1]), torch.zeros(classes))
    weight, bias = (values.clone().requires_grad_() for values in (weight, bias))
    balance = len(labels) / (classes * torch.bincount(labels, minlength=classes).clamp(min=1).float())
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=iterations, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weight.T + bias, labels, balance) + penalty * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), bias.detach()


def probe(features, labels, classes, penalty):
    """Returns (weight, bias) of a class-balanced logistic regression on standardised features, for raw features."""
    mean, deviation = features.mean(0), features.std(0) + 1e-3
    weight, bias = logistic((features - mean) / deviation, labels, classes, penalty, 200)
    weight = weight / deviation
    return weight, bias - weight @ mean


def temperature(logits, labels):
    """Returns the temperature, 0.25 to 4, that makes these labels most likely; 1 where no mistake tells how sure is too sure."""
    if (logits.argmax(1) == labels).all():
        return 1.0
    choices = torch.logspace(-2, 2, 161, base=2)
    return float(min(choices, key=lambda t: F.cross_entropy(logits / t, labels)))


def calibration_error(probabilities, labels):
    """Returns the expected calibration error of the top class over 15 equal bins."""
    confidence, predicted = probabilities.max(1).values.numpy(), probabilities.argmax(1).numpy()
    right = predicted == labels.numpy()
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(sum(gaps))


def interval(values, statistic=np.mean):
    """Returns the bootstrap 95 % interval of a statistic of rows; of rows that are all 1, the exact binomial one."""
    if statistic is np.mean and values.all():
        # Resampling cannot draw the mistake that was not seen.
        return [0.025 ** (1 / len(values)), 1.0]
    random = np.random.default_rng(0)
    draws = [statistic(values[random.integers(0, len(values), len(values))]) for _ in range(RESAMPLES)]
    return [float(q) for q in np.percentile(draws, [2.5, 97.5])]


def auroc(scores, positives):
    """Returns the chance that a positive scores above a negative."""
    above = (scores[positives][:, None] > scores[~positives][None]).mean()
    return float(above + 0.5 * (scores[positives][:, None] == scores[~positives][None]).mean())


def report(logits, labels, classes):
    """Returns accuracy, macro F1, calibration error, intervals and the confusion matrix of calibrated logits."""
    probabilities = logits.softmax(1)
    predicted = probabilities.argmax(1)
    confusion = torch.bincount(labels * len(classes) + predicted, minlength=len(classes) ** 2).view(-1, len(classes))
    right = (predicted == labels).numpy().astype(float)
    recall = confusion.diagonal() / confusion.sum(1).clamp(min=1)
    precision = confusion.diagonal() / confusion.sum(0).clamp(min=1)
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-9)
    return {
        "n_images": len(labels), "accuracy": right.mean(), "accuracy_95": interval(right), "macro_f1": float(f1.mean()),
        "calibration_error": calibration_error(probabilities, labels),
        "recall": dict(zip(classes, recall.tolist())), "confusion": confusion.tolist(),
    }
