"""Learning rates over the steps of a training, in Keras's own schedules. Taught in notebook 02."""

from keras.optimizers import schedules

from dn3dlib.config import TrainConfig


def learning_rate_schedule(config: TrainConfig, steps: int) -> schedules.LearningRateSchedule:
    """The schedule of a training of `steps` steps.

    `step`: ÷ 10 after half and after three quarters of the steps (Gu 2017, section 5.2; Huang et al. 2017, section 4.2).
    `exponential`: ÷ 10 every `decay_steps` steps at once (the published repository).
    `cosine`: up from 0 in the warm-up, then down to 0 on half a cosine (Loshchilov and Hutter 2017, without restarts).
    """
    rate = config.learning_rate
    if config.schedule == "step":
        return schedules.PiecewiseConstantDecay([steps // 2, steps * 3 // 4], [rate, rate / 10, rate / 100])
    if config.schedule == "exponential":
        return schedules.ExponentialDecay(rate, config.decay_steps, 0.1, staircase=True)
    warmup = int(config.warmup * steps)
    if not warmup:
        return schedules.CosineDecay(rate, max(steps, 1))
    return schedules.CosineDecay(0.0, max(steps - warmup, 1), warmup_target=rate, warmup_steps=warmup)
