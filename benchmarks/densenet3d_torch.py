"""The network of `dn3dlib/model/densenet3d.py` in PyTorch, channels last, on the CPU: a peer for `train_step.py`, which starts it.

    python benchmarks/densenet3d_torch.py WEIGHTS.npz float32

A process of its own, so that neither library's threads stand in the other's way. It reads weights and a batch, shows that
its logits are those of the plain Keras network, then waits on standard input for numbers of steps and answers each with
the seconds that they took.
"""

import json
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

CHANNELS_LAST = torch.channels_last_3d


class Composite(nn.Sequential):
    """Batch normalisation, ReLU, convolution, dropout."""

    def __init__(self, before: int, after: int, size: int, model: dict):
        super().__init__(
            nn.BatchNorm3d(before, eps=model["bn_epsilon"], momentum=1 - model["bn_momentum"]),
            nn.ReLU(inplace=True),
            nn.Conv3d(before, after, size, padding=size // 2, bias=False),
            nn.Dropout(model["dropout"], inplace=True),
        )


class DenseNet3D(nn.Module):
    """A `lite` network with bottleneck, as `build_model` makes it; gives logits. Its parts stand in network order."""

    def __init__(self, model: dict, layers: int, channels: int, classes: int):
        super().__init__()
        growth = model["growth_rate"]
        width = 2 * growth
        self.stem = nn.Conv3d(channels, width, 7, stride=(1, 2, 2), bias=False)
        self.parts = nn.ModuleList()
        for block in range(model["blocks"]):
            for _ in range(layers):
                bottleneck = Composite(width, 4 * growth, 1, model)
                self.parts.append(nn.Sequential(bottleneck, Composite(4 * growth, growth, 3, model)))
                width += growth
            if block < model["blocks"] - 1:
                kept = int(width * model["compression"])
                self.parts.append(Composite(width, kept, 1, model))
                width = kept
        self.head_norm = nn.BatchNorm3d(width, eps=model["bn_epsilon"], momentum=1 - model["bn_momentum"])
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = self.stem(same_padded(x, 7, (1, 2, 2)))
        # TensorFlow's padding `same` with the padding left out of the average: where it is uneven, more at the end.
        x = functional.avg_pool3d(x, 3, (1, 2, 2), (1, *padding_before(x)), ceil_mode=True, count_include_pad=False)
        for part in self.parts:
            if isinstance(part, Composite):  # a transition
                x = functional.avg_pool3d(part(x), 2, ceil_mode=True)
            else:
                x = torch.cat([x, part(x)], 1)
        return self.head(functional.relu(self.head_norm(x)).mean((2, 3, 4)))


def same_padded(x, size: int, strides):
    """Zeros around (batch, channels, frames, height, width) as TensorFlow's padding `same` puts them: more at the end."""
    pads = []
    for length, stride in zip(reversed(x.shape[2:]), reversed(strides), strict=True):
        total = max((-(-length // stride) - 1) * stride + size - length, 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(x, pads)


def padding_before(x) -> tuple[int, int]:
    """Zeros before the first row and column that a pool of 3 with stride 2 has: one where the length is odd."""
    return x.shape[3] % 2, x.shape[4] % 2


def load(network: DenseNet3D, arrays) -> None:
    """Give the network the Keras weights, which stand in network order: (d, h, w, in, out) becomes (out, in, d, h, w)."""
    given = iter([arrays[name] for name in sorted(arrays.files) if name.startswith("weight")])
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv3d):
                module.weight.copy_(torch.from_numpy(next(given).transpose(4, 3, 0, 1, 2)))
            elif isinstance(module, nn.BatchNorm3d):
                for target in (module.weight, module.bias, module.running_mean, module.running_var):
                    target.copy_(torch.from_numpy(next(given)))
            elif isinstance(module, nn.Linear):
                module.weight.copy_(torch.from_numpy(next(given).T))
                module.bias.copy_(torch.from_numpy(next(given)))
    assert next(given, None) is None, "the two networks have other numbers of weights"


def main() -> None:
    arrays = np.load(sys.argv[1])
    half = sys.argv[2] == "bfloat16"
    meta = json.loads(str(arrays["meta"]))
    torch.set_num_threads(meta["threads"])
    network = DenseNet3D(meta["model"], meta["layers"], arrays["clips"].shape[-1], meta["classes"])
    load(network, arrays)
    network = network.to(memory_format=CHANNELS_LAST)
    clips = torch.from_numpy(arrays["clips"].transpose(0, 4, 1, 2, 3)).contiguous(memory_format=CHANNELS_LAST)
    labels = torch.from_numpy(arrays["labels"]).long()
    with torch.no_grad():
        difference = np.abs(network.eval()(clips).numpy() - arrays["logits"]).max()
    assert difference < 1e-3, f"the two networks differ by {difference}"
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = network(clips)
        functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    print("ready", flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
