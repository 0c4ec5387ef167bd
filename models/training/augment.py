"""Random crops, flips, rotations, light, blur and JPEG blocks: what a camera does to the same part or leaf."""

import io

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

CROP_SIDE_RATIO = (0.55, 1.05)
ROTATION_DEGREES = 35.0
BRIGHTNESS, CONTRAST, SATURATION, TINT = 0.25, 0.25, 0.25, 0.06
BLUR_CHANCE, BLUR_SIGMA_PX = 0.2, (0.4, 1.2)
JPEG_CHANCE, JPEG_QUALITY = 0.25, (40, 95)


def augmented(cached, size, random):
    """Returns `[batch, 3, height, width]` 0 to 255 from `[batch, height, width, 3]` bytes; `random` is a NumPy generator."""
    width, height = size
    # NHWC -> NCHW
    pixels = torch.from_numpy(cached).permute(0, 3, 1, 2).float()
    grid = F.affine_grid(views(len(cached), width / height, random), (len(cached), 3, height, width), align_corners=False)
    pixels = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    pixels = blurred(lit(pixels, random), random).clamp(0, 255)
    return blocked(pixels, random)


def views(count, aspect, random):
    """Returns `[count, 2, 3]` maps from the output to the picture, both -1 to 1."""
    side = random.uniform(*CROP_SIDE_RATIO, count)
    angle = np.deg2rad(random.uniform(-ROTATION_DEGREES, ROTATION_DEGREES, count))
    flips = random.choice([-1.0, 1.0], (2, count))
    shift = random.uniform(-1, 1, (2, count)) * np.abs(1 - side)
    cos, sin = side * np.cos(angle), side * np.sin(angle)
    rows = np.stack([
        np.stack([cos * flips[0], -sin * flips[1] / aspect, shift[0]], 1),
        np.stack([sin * flips[0] * aspect, cos * flips[1], shift[1]], 1),
    ], 1)
    return torch.from_numpy(rows.astype(np.float32))


def lit(pixels, random):
    """Returns the pictures in another light: brightness, contrast, saturation, colour of the lamp."""
    def factor(spread, channels=1):
        values = 1 + random.uniform(-spread, spread, (len(pixels), channels, 1, 1))
        return torch.from_numpy(values.astype(np.float32))

    grey = pixels.mean(1, keepdim=True)
    pixels = grey + (pixels - grey) * factor(SATURATION)
    middle = pixels.mean((1, 2, 3), keepdim=True)
    return (middle + (pixels - middle) * factor(CONTRAST)) * factor(BRIGHTNESS) * factor(TINT, 3)


def blurred(pixels, random):
    for index in np.flatnonzero(random.random(len(pixels)) < BLUR_CHANCE):
        offsets = torch.arange(-3, 4).float()
        kernel = torch.exp(-0.5 * (offsets / random.uniform(*BLUR_SIGMA_PX)) ** 2)
        kernel = (kernel / kernel.sum()).view(1, 1, 1, 7).repeat(3, 1, 1, 1)
        picture = F.conv2d(F.pad(pixels[index : index + 1], (3, 3, 3, 3), "reflect"), kernel, groups=3)
        pixels[index : index + 1] = F.conv2d(picture, kernel.transpose(2, 3), groups=3)
    return pixels


def blocked(pixels, random):
    for index in np.flatnonzero(random.random(len(pixels)) < JPEG_CHANCE):
        file = io.BytesIO()
        # CHW -> HWC
        picture = Image.fromarray(pixels[index].permute(1, 2, 0).byte().numpy())
        picture.save(file, "JPEG", quality=int(random.integers(*JPEG_QUALITY)))
        pixels[index] = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float()
    return pixels
