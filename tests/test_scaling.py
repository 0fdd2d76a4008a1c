"""The model of what more devices cost, against numbers worked by hand; and that its pictures say what it says."""

import dataclasses

import numpy as np
import pytest

from dn3dlib.errors import ConfigError
from dn3dlib.show.scaling import cost_picture, cost_table, errors_by_size, gradient_points
from dn3dlib.train.scaling import Machines, ring_seconds, scaling_costs

# 100 clips/s each, 8 devices in a host, 300 GB/s and 5 µs inside, 100 Gbit/s = 12.5 GB/s and 30 µs outside.
PLAIN = Machines(clips_per_second=100.0)
MILLION = 1_000_000  # parameters: 4 MB of gradients


def test_a_ring_by_hand():
    """Four devices, 8 bytes, 2 bytes a second: six rounds of 2 bytes, a second each, and half a second of latency a round."""
    assert ring_seconds(4, 8, 2, 0.5) == pytest.approx(6 * 1.0 + 6 * 0.5)
    assert ring_seconds(1, 8, 2, 0.5) == 0
    assert ring_seconds(2, 8, 2, 0.0) == pytest.approx(4.0), "two halves out, two halves in"


def test_a_ring_that_is_played_sends_what_the_formula_says():
    """Devices in a ring pass on one part each round, first adding, then copying; the fullest link carries 2(N−1)/N of the message."""
    held = np.random.default_rng(0).normal(size=(5, 5, 3))  # device, part, numbers
    wanted, sent = held.sum(axis=0), np.zeros(5)
    for turn in range(8):
        parts = held.copy()
        for device in range(5):
            part = (device - turn) % 5 if turn < 4 else (device + 1 - (turn - 4)) % 5
            sent[device] += parts[device, part].nbytes
            held[(device + 1) % 5, part] = parts[device, part] + (held[(device + 1) % 5, part] if turn < 4 else 0)
    assert np.allclose(held, wanted[None])
    assert set(sent) == {ring_seconds(5, wanted.nbytes, 1.0, 0.0)}


def test_weak_scaling_by_hand():
    one, two, eight, many = scaling_costs(PLAIN, MILLION, 10, 36_000)
    assert [cost.batch_size for cost in (one, two, eight, many)] == [10, 20, 80, 640]
    assert {cost.compute for cost in (one, two, eight, many)} == {0.1} and one.exchange == one.waiting == 0
    assert one.efficiency == 1 and one.epoch_seconds == pytest.approx(360) and one.device_hours == pytest.approx(0.1)
    assert eight.exchange == pytest.approx(2 * 7 / 8 * 4e6 / 300e9 + 14 * 5e-6)
    assert many.exchange == pytest.approx(2 * 63 / 64 * 4e6 / 12.5e9 + 126 * 3e-5)
    assert many.step == pytest.approx(0.10441) and many.efficiency == pytest.approx(0.1 / 0.10441, rel=1e-4)
    assert many.clips_per_second == pytest.approx(640 / 0.10441, rel=1e-4)
    assert many.epoch_seconds == pytest.approx(36_000 / (640 / 0.10441), rel=1e-4)
    assert many.device_hours == pytest.approx(64 * many.epoch_seconds / 3600)


def test_strong_scaling_by_hand():
    """80 clips in all: on 64 devices the fullest has 2, and works as long as on 40."""
    one, _, eight, many = scaling_costs(PLAIN, MILLION, 80, 36_000, strong=True)
    assert [cost.batch_size for cost in (one, eight, many)] == [80] * 3
    assert [cost.compute for cost in (one, eight, many)] == pytest.approx([0.8, 0.1, 0.02])
    assert many.efficiency == pytest.approx(0.8 / (64 * (0.02 + 0.00441)), rel=1e-4)


def test_the_busiest_host_makes_its_devices_wait():
    slow = dataclasses.replace(PLAIN, input_clips_per_second=400.0)
    one, two, eight, many = scaling_costs(slow, MILLION, 10, 36_000)
    assert one.waiting == two.waiting == 0
    assert eight.waiting == many.waiting == pytest.approx(80 / 400 - 0.1)


@pytest.mark.parametrize(
    "name, value, wanted",
    [
        ("clips_per_second", 0, "a number above 0"),
        ("clips_per_second", float("inf"), "a number above 0"),
        ("network_gigabits", float("nan"), "a number above 0"),
        ("network_latency", -1e-6, "a number, 0 or more"),
        ("devices_per_host", 2.5, "a whole number, 1 or more"),
        ("devices_per_host", True, "a whole number, 1 or more"),
        ("inside_gigabytes", "300", "a number above 0"),
    ],
)
def test_an_impossible_assumption_is_named(name, value, wanted):
    with pytest.raises(ConfigError, match=f"The assumption {name} is {value!r}, but must be {wanted}"):
        dataclasses.replace(PLAIN, **{name: value})


def test_impossible_sizes_are_named():
    with pytest.raises(ConfigError, match="batch_size is 0"):
        scaling_costs(PLAIN, MILLION, 0, 100)
    with pytest.raises(ConfigError, match="devices is 0"):
        scaling_costs(PLAIN, MILLION, 8, 100, devices=(0, 1))
    with pytest.raises(ConfigError, match="A batch of 32 clips has not one for each of 64 devices"):
        scaling_costs(PLAIN, MILLION, 32, 100, strong=True)


def test_pictures_and_table_say_what_the_model_says():
    costs = scaling_costs(PLAIN, MILLION, 10, 36_000)
    picture = cost_picture(costs)
    bars, line = picture.figure.axes
    drawn = {container.get_label(): sum(bar.get_width() for bar in container) for container in bars.containers}
    assert drawn == pytest.approx({part: 1000 * sum(getattr(cost, part) for cost in costs) for part in ("compute", "waiting", "exchange")})
    assert line.lines[1].get_ydata() == pytest.approx([cost.clips_per_second for cost in costs])
    assert "64 devices: step 104 ms, efficiency 0.96" in picture.alt
    assert "<td style=\"text-align:right\">0.96</td>" in cost_table(costs).data


def test_gradients_and_errors_are_drawn_as_they_are():
    ax = gradient_points({"whole": np.array([1.0, 2.0]), "mean": np.array([1.0, 2.0])}, inside="mean").figure.axes[0]
    assert [list(line.get_ydata()) for line in ax.lines[:2]] == [[1.0, 2.0]] * 2 and ax.lines[0].get_markersize() > ax.lines[1].get_markersize()
    ax = errors_by_size(np.array([0.1, 1.0]), {"half": np.array([1.0, 0.01])}).figure.axes[0]
    assert list(ax.lines[0].get_ydata()) == [1.0, 0.01]
