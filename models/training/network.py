"""EfficientNet-Lite0 with batch norm folded into its convolutions, and one linear head per task."""

import torch
from torch import nn
from torch.nn import functional as F

# Input channels, output channels, expansion, kernel, stride: arXiv 1905.11946, table 1, without squeeze and excitation.
BLOCKS = (
    (32, 16, 1, 3, 1), (16, 24, 6, 3, 2), (24, 24, 6, 3, 1), (24, 40, 6, 5, 2), (40, 40, 6, 5, 1), (40, 80, 6, 3, 2),
    (80, 80, 6, 3, 1), (80, 80, 6, 3, 1), (80, 112, 6, 5, 1), (112, 112, 6, 5, 1), (112, 112, 6, 5, 1),
    (112, 192, 6, 5, 2), (192, 192, 6, 5, 1), (192, 192, 6, 5, 1), (192, 192, 6, 5, 1), (192, 320, 6, 3, 1),
)
# Its expansion is the last map of stride 16; the head convolution's is of stride 32.
TEXTURE_BLOCK = 11
FEATURES = 672 + 1280
NORM_EPSILON = 1e-3
INPUT_MEAN, INPUT_SCALE = 127.0, 1 / 128.0


def convolutions():
    """Yields (convolution, its batch norm) by the names of the published checkpoint."""
    yield "_conv_stem", "_bn0"
    for index, (_, _, expansion, _, _) in enumerate(BLOCKS):
        if expansion > 1:
            yield f"_blocks.{index}._expand_conv", f"_blocks.{index}._bn0"
        yield f"_blocks.{index}._depthwise_conv", f"_blocks.{index}._bn1"
        yield f"_blocks.{index}._project_conv", f"_blocks.{index}._bn2"
    yield "_conv_head", "_bn1"


def fold(checkpoint):
    """Returns {name: (weight, bias)} of convolutions that do what convolution and frozen batch norm did."""
    folded = {}
    for name, norm in convolutions():
        factor = checkpoint[f"{norm}.weight"] / torch.sqrt(checkpoint[f"{norm}.running_var"] + NORM_EPSILON)
        bias = checkpoint[f"{norm}.bias"] - checkpoint[f"{norm}.running_mean"] * factor
        folded[name] = (checkpoint[f"{name}.weight"] * factor[:, None, None, None], bias)
    return folded


def unfold(folded, checkpoint):
    """Returns the checkpoint with the folded weights put back in front of its own batch norm statistics."""
    result = dict(checkpoint)
    for name, norm in convolutions():
        weight, bias = folded[name]
        factor = checkpoint[f"{norm}.weight"] / torch.sqrt(checkpoint[f"{norm}.running_var"] + NORM_EPSILON)
        result[f"{name}.weight"] = weight / factor[:, None, None, None]
        result[f"{norm}.bias"] = bias + checkpoint[f"{norm}.running_mean"] * factor
    return result


class Encoder(nn.Module):
    """The convolutions by name with dots as underscores. The stem and the first `frozen_blocks` blocks are not trained, and
    with `depthwise` "frozen" no depthwise weight is: on a CPU their gradients cost more than all others together."""

    def __init__(self, checkpoint, frozen_blocks, depthwise="trained"):
        super().__init__()
        self.frozen_blocks = frozen_blocks
        for name, (weight, bias) in fold(checkpoint).items():
            trained = not self.is_frozen(name)
            key = name.replace(".", "_")
            weight_trained = trained and (depthwise == "trained" or "_depthwise_" not in name)
            self.register_parameter(f"{key}_weight", nn.Parameter(weight.clone(), requires_grad=weight_trained))
            self.register_parameter(f"{key}_bias", nn.Parameter(bias.clone(), requires_grad=trained))

    def is_frozen(self, name):
        if name == "_conv_stem":
            return self.frozen_blocks > 0
        return name != "_conv_head" and int(name.split(".")[1]) < self.frozen_blocks

    def folded(self):
        """Returns {name: (weight, bias)} as `fold` does."""
        keys = {name: name.replace(".", "_") for name, _ in convolutions()}
        return {n: (getattr(self, f"{k}_weight").detach(), getattr(self, f"{k}_bias").detach()) for n, k in keys.items()}

    def conv(self, x, name, stride=1, groups=1):
        key = name.replace(".", "_")
        weight, bias = getattr(self, f"{key}_weight"), getattr(self, f"{key}_bias")
        kernel = weight.shape[-1]
        if stride == 1:
            return F.conv2d(x, weight, bias, padding=kernel // 2, groups=groups)
        # TensorFlow's SAME padding: sides are multiples of every stride, so the odd pixel goes to the end.
        before = (kernel - stride) // 2
        after = kernel - stride - before
        return F.conv2d(F.pad(x, (before, after, before, after)), weight, bias, stride, groups=groups)

    def block(self, x, index):
        """Returns the output of an inverted bottleneck and its expansion."""
        channels_in, channels_out, expansion, _, stride = BLOCKS[index]
        name = f"_blocks.{index}."
        expanded = F.relu6(self.conv(x, name + "_expand_conv")) if expansion > 1 else x
        y = F.relu6(self.conv(expanded, name + "_depthwise_conv", stride, channels_in * expansion))
        y = self.conv(y, name + "_project_conv")
        return (y + x if stride == 1 and channels_in == channels_out else y), expanded

    def maps(self, pixels):
        """Returns the sight maps of pixels `[batch, 3, height, width]`, RGB, 0 to 255, sides multiples of 32: texture
        `[batch, 672, height / 16, width / 16]` and shape `[batch, 1280, height / 32, width / 32]`."""
        x = ((pixels - INPUT_MEAN) * INPUT_SCALE).contiguous(memory_format=torch.channels_last)
        x = F.relu6(self.conv(x, "_conv_stem", stride=2))
        for index in range(len(BLOCKS)):
            x, expanded = self.block(x, index)
            if index == TEXTURE_BLOCK:
                texture = expanded
        return texture, F.relu6(self.conv(x, "_conv_head"))

    def forward(self, pixels):
        """Returns features `[batch, 1952]`, the means of the two maps of the same pixels."""
        return torch.cat([sight.mean((2, 3)) for sight in self.maps(pixels)], 1)


class Eyes(nn.Module):
    """One encoder and the heads of all tasks."""

    def __init__(self, checkpoint, classes_by_task, encoder_options, dropout_ratio):
        super().__init__()
        self.encoder = Encoder(checkpoint, *encoder_options)
        self.heads = nn.ModuleDict({task: nn.Linear(FEATURES, count) for task, count in classes_by_task.items()})
        self.dropout = nn.Dropout(dropout_ratio)

    def forward(self, pixels, task):
        return self.heads[task](self.dropout(self.encoder(pixels)))


def features_of(encoder, inputs, batch=32):
    """Returns `[n, 1952]` features of `[n, height, width, 3]` bytes."""
    encoder.eval()
    with torch.inference_mode():
        # NHWC -> NCHW
        parts = [encoder(torch.from_numpy(inputs[i : i + batch]).permute(0, 3, 1, 2).float())
                 for i in range(0, len(inputs), batch)]
    return torch.cat(parts).clone()
