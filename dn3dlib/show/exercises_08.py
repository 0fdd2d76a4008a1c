"""The exercises of notebook 08: shares of a batch, common statistics, the scale of a loss, and how many devices are worth it."""

import numpy as np

from dn3dlib.show.lesson import Exercise
from dn3dlib.train.scaling import ring_seconds

LARGEST = float(np.finfo(np.float16).max)  # 65504
MOST = 64  # devices of the last exercise


def _arrays(*rows) -> tuple[np.ndarray, ...]:
    return tuple(map(np.array, rows))


def _whole_gradient(gradients, clips):
    return np.average(gradients, axis=0, weights=clips)


def _common_moments(means, variances, clips):
    """As `train.kernels.normalise_over_replicas`: sums of values and of squares go round."""
    mean = np.average(means, axis=0, weights=clips)
    squares = np.average(variances + means**2, axis=0, weights=clips)
    return np.stack([mean, squares - mean**2])


def _loss_scale(gradients):
    return 2.0 ** np.floor(np.log2(LARGEST / np.abs(gradients).max()))


def _smallest_that_rescues(gradients):
    """The power of two that brings the smallest gradient to float16's smallest number, 2⁻²⁴."""
    return 2.0 ** np.ceil(-24 - np.log2(np.abs(gradients).min()))


def _most_devices(seconds, gradient_bytes, bytes_per_second, latency, least, growing=False, speed_up=False, ring=ring_seconds):
    """`growing`: as if the batch grew with the devices; `speed_up`: not divided by their number."""
    best = 1
    for devices in range(1, MOST + 1):
        compute = seconds if growing else seconds / devices
        work = seconds if speed_up else compute
        if work / (compute + ring(devices, gradient_bytes, bytes_per_second, latency)) >= least:
            best = devices
    return best


def _one_way(devices, message_bytes, bytes_per_second, latency):
    return ring_seconds(devices, message_bytes, bytes_per_second, latency) / 2


EXERCISES = {
    "whole_gradient": Exercise(
        _whole_gradient,
        hints=(
            "Each replica's gradient is a mean over its own clips. What is the sum over its clips?",
            "Add up clips · gradient over the replicas, and divide by all clips.",
            "np.average(gradients, axis=0, weights=clips) does both.",
        ),
        cases=(
            _arrays([[1.0, 2.0], [4.0, -1.0]], [4, 3]),
            _arrays([[0.5, 1.5, 2.5], [1.0, 0.0, 3.0], [2.0, 2.0, -2.0]], [3, 3, 2]),
            _arrays([[1.0], [5.0]], [8, 8]),
        ),
        mistakes=(
            (lambda gradients, clips: np.mean(gradients, axis=0), "the plain mean gives a clip in the smaller share more weight than a clip in the larger one."),
            (lambda gradients, clips: np.sum(gradients, axis=0), "a sum of means is as many times too large as there are replicas, about: a mean over all clips is wanted."),
            (lambda gradients, clips: clips @ gradients, "this is the sum over all clips: divide by how many there are."),
            (lambda gradients, clips: clips @ gradients / len(clips), "this is the sum over all clips, divided by the replicas: divide it by all clips."),
        ),
    ),
    "loss_scale": Exercise(
        _loss_scale,
        hints=(
            "The largest gradient, in absolute value, decides: it must stay below float16's largest number, 65504.",
            "65504 / np.abs(gradients).max() is the largest factor at all. Which power of two lies at or below it?",
            "2.0 ** np.floor(np.log2(factor)); a factor below 1 gives a negative power, which is right.",
        ),
        cases=((np.array([1e-8, -0.5, 0.02]),), (np.array([-3.0, 1e-6]),), (np.array([1e-7, 3e-5]),), (np.array([200_000.0, 1.0]),)),
        mistakes=(
            (lambda gradients: LARGEST / np.abs(gradients).max(), "a factor that is no power of two rounds every gradient: only powers of two change nothing but the exponent."),
            (lambda gradients: 2.0 ** np.ceil(np.log2(LARGEST / np.abs(gradients).max())), "the largest gradient overflows: the power of two must lie at or below the largest factor."),
            (lambda gradients: 2.0 ** np.floor(np.log2(LARGEST / np.max(gradients))), "a negative gradient can be the largest one: take the absolute value."),
            (lambda gradients: max(1.0, _loss_scale(gradients)), "gradients that are too large already take a factor below 1."),
            (_smallest_that_rescues, "this just saves the smallest gradient, with a single bit of it: take the largest factor that the largest gradient allows."),
        ),
    ),
    "common_moments": Exercise(
        _common_moments,
        hints=(
            "Means can be averaged, weighted by clips. Variances cannot: where the replicas' means differ, that difference is variance, too.",
            "A variance is the mean of the squares less the square of the mean. So the mean of the squares of a replica is variance + mean².",
            "Average these squares as well, weighted by clips; subtract the square of the common mean; np.stack([mean, variance]).",
        ),
        cases=(
            _arrays([[0.0, 1.0], [2.0, 1.0]], [[1.0, 0.5], [1.0, 0.5]], [4, 4]),
            _arrays([[1.0, -2.0], [3.0, 0.5], [0.0, 0.0]], [[0.2, 1.0], [0.4, 2.0], [1.0, 0.1]], [3, 3, 2]),
        ),
        mistakes=(
            (
                lambda means, variances, clips: np.stack([np.average(means, axis=0, weights=clips), np.average(variances, axis=0, weights=clips)]),
                "the mean of the variances leaves out that the replicas' means differ.",
            ),
            (
                lambda means, variances, clips: _common_moments(means, 0 * variances, clips),
                "this is the variance of the means alone: what varies inside each replica belongs to it, too.",
            ),
            (
                lambda means, variances, clips: np.stack([np.average(part, axis=0, weights=clips) for part in (means, variances + means**2)]),
                "the second row is the mean of the squares: less the square of the common mean it is the variance.",
            ),
            (
                lambda means, variances, clips: _common_moments(means, variances, np.ones(len(clips))),
                "a replica with fewer clips has as much say here as one with more: weigh by clips.",
            ),
        ),
    ),
    "most_devices": Exercise(
        _most_devices,
        hints=(
            "With one batch for all, N devices compute seconds / N each, and then exchange. Only the first of the two is work that one device would do as well.",
            "The efficiency of N devices is compute / (compute + ring), compute = seconds / N, ring as in step 9 with N devices.",
            "It falls with N. Go through range(1, 65) and keep the last N whose efficiency is `least` or more.",
        ),
        cases=(
            (0.8, 6e6, 12.5e9, 3e-5, 0.9),  # a fast network
            (0.8, 6e6, 0.125e9, 3e-5, 0.5),  # a slow one
            (100.0, 6e6, 12.5e9, 3e-5, 0.9),  # all of them
            (0.1, 6e6, 0.125e9, 3e-5, 0.55),  # not even two
        ),
        mistakes=(
            (lambda *given: _most_devices(*given, growing=True), "here the batch grows with the devices: it is one batch for all, so each computes for seconds / N."),
            (
                lambda *given: _most_devices(*given, speed_up=True),
                "this holds seconds ÷ step against `least`, how many times as fast they are: the efficiency is an N-th of that.",
            ),
            (lambda *given: _most_devices(*given, ring=_one_way), "the parts go round twice: once to be added up, once to be handed out."),
            (lambda *given: min(MOST, _most_devices(*given) + 1), "one device too many: its efficiency is already below `least`."),
        ),
    ),
}
