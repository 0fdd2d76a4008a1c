"""What a training says when it starts: where, how, and from where it goes on."""

from contextlib import suppress

from dn3dlib.errors import Dn3dError
from dn3dlib.files import read_json
from dn3dlib.train.runs import ENVIRONMENT, Run
from dn3dlib.train.tuning import learned_numbers


def describe_start(run: Run, device: str, replicas: int, clips: int, steps: int, in_memory: bool, network) -> list[str]:
    """The sentences before the first step.

    Args:
        run: with a learning rate that is fit to the replicas.
        device: words of `choose_strategy`.
        replicas: that train together now.
        clips, steps: of an epoch.
        in_memory: whether decoded frames are held.
        network: a keras.Model.
    """
    config, sentences = run.train, [f"Training on {device}: {clips} clips an epoch, {steps} steps."]
    if replicas > 1:
        share = f"{config.batch_size / replicas:g} of the {config.batch_size} clips of a step"
        statistics = "of all replicas" if config.sync_batch_norm else "of each replica's own clips"
        sentences.append(f"Each of {replicas} replicas takes {share}; the learning rate is {config.learning_rate:g}, batch statistics are those {statistics}.")
    noted = {"replicas": replicas}
    with suppress(Dn3dError):  # it is only told of
        noted = read_json(run.path / ENVIRONMENT, "environment")
    before = noted.get("replicas", 1)
    if before != replicas:
        sentences.append(f"The run began with {before} replicas and goes on with {replicas}: to much the same end, but not bit for bit.")
    sentences.append(f"Frames are {'held in memory' if in_memory else 'read from the disk for each clip'}.")
    sentences.append(f"The network has {network.count_params():,} numbers in {run.model.true_depth} layers with weights.")
    if config.freeze != "none":
        sentences.append(f"Only {learned_numbers(network):,} of them train: train.freeze={config.freeze}.")
    return [*sentences, *filter(None, [noted.get("start")])]
