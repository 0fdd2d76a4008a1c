"""How the cost of a training grows with the number of devices: a model of one step, its assumptions in plain sight. It measures nothing."""

import math
from dataclasses import dataclass

from dn3dlib.errors import ConfigError

DEVICES = (1, 2, 8, 64)
_GRADIENT_BYTES = 4  # of one parameter: variables and their gradients are float32 in every precision


@dataclass(frozen=True)
class Machines:
    """What the model assumes of the machines; put your own measurements in the place of the defaults. Taught in notebook 08.

    Raises:
        ConfigError: a value is no number in its range.
    """

    clips_per_second: float  # that one device trains on its own
    devices_per_host: int = 8
    inside_gigabytes: float = 300.0  # GB/s each way between two devices of a host (NVLink)
    network_gigabits: float = 100.0  # Gbit/s each way between two hosts
    inside_latency: float = 5e-6  # seconds until a message between two devices of a host begins to arrive
    network_latency: float = 3e-5  # seconds, between two hosts
    input_clips_per_second: float = 2000.0  # that one host reads and decodes, for all its devices

    def __post_init__(self):
        for name, value in vars(self).items():
            least = 0 if name.endswith("latency") else 1e-6
            whole = name == "devices_per_host"
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not least <= value < math.inf:
                wanted = "a whole number, 1 or more" if whole else "a number, 0 or more" if least == 0 else "a number above 0"
                raise ConfigError(f"The assumption {name} is {value!r}, but must be {wanted}.")


@dataclass(frozen=True)
class Cost:
    """What the model says of one number of devices; times of one step, in seconds. Taught in notebook 08."""

    devices: int
    batch_size: int  # of all devices together
    compute: float  # of the device with the most clips
    waiting: float  # for clips that the busiest host has not decoded yet
    exchange: float  # of gradients
    efficiency: float  # share of what as many devices would do if each worked as one does alone
    epoch_seconds: float

    @property
    def step(self) -> float:
        """Seconds of a step: nothing of the exchange is hidden behind the computation."""
        return self.compute + self.waiting + self.exchange

    @property
    def clips_per_second(self) -> float:
        """Of all devices together."""
        return self.batch_size / self.step

    @property
    def device_hours(self) -> float:
        """Of an epoch: what is paid for, whether the devices work or wait."""
        return self.devices * self.epoch_seconds / 3600


def ring_seconds(devices: int, message_bytes: float, bytes_per_second: float, latency: float) -> float:
    """Time of a ring all-reduce (Patarasuk & Yuan 2009): 2(N−1) rounds, in each of which all N devices pass on an N-th of the message.

    Taught in notebook 08.

    Args:
        devices: N, 1 or more.
        message_bytes: what each device holds, and all want the sum of.
        bytes_per_second: of the slowest link in the ring, each way.
        latency: of a round, in seconds.
    """
    return 2 * (devices - 1) / devices * message_bytes / bytes_per_second + 2 * (devices - 1) * latency


def scaling_costs(machines: Machines, parameters: int, batch_size: int, epoch_clips: int, *, strong: bool = False, devices=DEVICES) -> list[Cost]:
    """What training on so many devices costs, by the model. Taught in notebook 08.

    A step computes, waits for clips where a host decodes more slowly than its devices learn, and sums the gradients round a ring in one message.
    Left out: overlap of the two, messages of batch normalisation, a device's lower rate on small batches, validation, start and failures.

    Args:
        machines: the assumptions.
        parameters: that the network learns.
        batch_size: clips of each device (weak scaling: the batch grows with the devices, and with it the learning rate, Goyal et al. 2017);
            with `strong` of all together (the training stays the same, but the part that does not shrink bounds its speed-up, Amdahl 1967).
        epoch_clips: clips of an epoch.
        devices: how many, a `Cost` each.

    Raises:
        ConfigError: a size is no whole number above 0, or with `strong` the batch has not a clip for each device.
    """
    sizes = {"parameters": parameters, "batch_size": batch_size, "epoch_clips": epoch_clips, "devices": min(devices)}
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} is {value!r}, but must be a whole number, 1 or more.")
    if strong and batch_size < max(devices):
        raise ConfigError(f"A batch of {batch_size} clips has not one for each of {max(devices)} devices: take fewer devices or a larger batch.")
    alone, costs = batch_size / sum(_step_times(machines, parameters, batch_size, 1)), []
    for count in devices:
        together = batch_size if strong else batch_size * count
        times = _step_times(machines, parameters, together, count)
        rate = together / sum(times)
        costs.append(Cost(count, together, *times, efficiency=rate / (count * alone), epoch_seconds=epoch_clips / rate))
    return costs


def _step_times(machines: Machines, parameters: int, batch_size: int, devices: int) -> tuple[float, float, float]:
    """Seconds of computing, of waiting for clips, and of the exchange, where the slowest device and the slowest link decide."""
    share = math.ceil(batch_size / devices)
    compute = share / machines.clips_per_second
    reading = share * min(devices, machines.devices_per_host) / machines.input_clips_per_second
    if devices > machines.devices_per_host:
        speed, latency = machines.network_gigabits * 1e9 / 8, machines.network_latency
    else:
        speed, latency = machines.inside_gigabytes * 1e9, machines.inside_latency
    return compute, max(0.0, reading - compute), ring_seconds(devices, _GRADIENT_BYTES * parameters, speed, latency)
