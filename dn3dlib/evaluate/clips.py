"""The clips of an evaluation: several plans over the same sequences, each clip computed once however many share it."""

import dataclasses

import numpy as np

from dn3dlib.config import ClipConfig
from dn3dlib.data.clips import ClipPlan, plan_evaluation
from dn3dlib.data.manifest import DataSet


def evaluation_plans(
    data: DataSet, clip: ClipConfig, split: str, seed: int, views: int | None, controls: tuple[str, ...]
) -> dict[str, ClipPlan]:
    """The plan of the real clips under the name of their frame order, and one for each control under its own name."""
    orders = dict.fromkeys((clip.frame_order, *controls))
    return {order: plan_evaluation(data, dataclasses.replace(clip, frame_order=order), split, seed, views) for order in orders}


def distinct_clips(plans: list[ClipPlan]) -> tuple[ClipPlan, list[np.ndarray]]:
    """The clips of some plans without augmentation, each once.

    Returns:
        A plan of the distinct clips, by sequence and frames; and for each given plan int (clips,), where in it each of its
        clips stands.
    """
    rows = np.concatenate([np.column_stack([plan.sequence, plan.frames]) for plan in plans])
    _, firsts, places = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    every = ClipPlan(*(np.concatenate(columns) for columns in zip(*map(_columns, plans), strict=True)))
    return every[firsts], np.split(places, np.cumsum([len(plan) for plan in plans])[:-1])


def _columns(plan: ClipPlan) -> list[np.ndarray]:
    return [getattr(plan, field.name) for field in dataclasses.fields(plan)]
