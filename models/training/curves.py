"""Curves of a training as SVG: validation accuracy by epoch or round, with axes."""

import math

COLOURS = ("#555", "#0a7", "#b50", "#05c")
WIDTH, HEIGHT = 320, 200
# Room at the left of a plot for numbers and name of the axis, above it for the title, and for each line of the legend below.
LEFT, TOP, ROW = 56, 26, 16


def accuracy_ticks(lowest):
    """Returns round accuracies from one at or below `lowest` to 1, six at most."""
    for step in (0.01, 0.02, 0.05, 0.1, 0.2):
        count = round(1 / step) - math.floor(lowest / step + 1e-9)
        if count <= 5:
            break
    return [1 - step * i for i in range(max(count, 1), -1, -1)]


def whole_ticks(first, last):
    """Returns round numbers of epochs from `first` to `last`, eight at most."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500) if (last - first) / step < 8)
    return [n for n in range(first, last + 1) if n % step == 0]


def panel(name, history, ticks):
    """Returns the elements of one plot with its origin at the plot's upper left corner, and its height."""
    unit = "epoch" if "epoch" in history[0] else "round"
    at = [entry[unit] for entry in history]
    span = max(1, at[-1] - at[0])

    def x(number):
        return WIDTH * (number - at[0]) / span

    def y(accuracy):
        return HEIGHT * (1 - accuracy) / (1 - ticks[0])

    parts = [f'<text y="-10" font-weight="bold">{name}</text>']
    for tick in ticks:
        parts.append(f'<path d="M0 {y(tick):.1f}H{WIDTH}" stroke="#ddd"/><text x="-6" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.2f}</text>')
    for tick in whole_ticks(at[0], at[-1]):
        parts.append(f'<path d="M{x(tick):.1f} {HEIGHT}v4" stroke="#555"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{HEIGHT + 16}" text-anchor="middle">{tick}</text>')
    parts.append(f'<path d="M0 0V{HEIGHT}H{WIDTH}" fill="none" stroke="#555"/>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT + 32}" text-anchor="middle">{unit}</text>')
    parts.append(f'<text transform="translate(-42 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">validation accuracy (share)</text>')
    tasks = list(history[0]["validation"])
    for row, task in enumerate(tasks):
        values = [entry["validation"][task][0] for entry in history]
        points = " ".join(f"{x(n):.1f},{y(value):.1f}" for n, value in zip(at, values))
        colour = COLOURS[row % len(COLOURS)]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text y="{HEIGHT + 36 + ROW * (row + 1)}" fill="{colour}">{task}: {values[-1]:.3f} at the end</text>')
    return parts, HEIGHT + 44 + ROW * len(tasks)


def curves(histories):
    """Returns an SVG of the validation accuracies, a plot for each of the `histories` (name, entries)."""
    lowest = min(accuracy for _, history in histories for entry in history for accuracy, _ in entry["validation"].values())
    panels = [panel(name, history, accuracy_ticks(lowest)) for name, history in histories]
    width, height = (LEFT + WIDTH + 20) * len(panels), TOP + max(height for _, height in panels)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" font-family="sans-serif" font-size="11">',
             f'<rect width="{width}" height="{height}" fill="#fff"/>']
    for column, (elements, _) in enumerate(panels):
        parts += [f'<g transform="translate({LEFT + (LEFT + WIDTH + 20) * column} {TOP})">', *elements, "</g>"]
    return "\n".join([*parts, "</svg>\n"])
