"""The poses of drawn people: where the joints are at each moment of an action. The six KTH actions, and exercises that KTH has not."""

import math
from collections.abc import Callable
from dataclasses import dataclass

Point = tuple[float, float]  # forward, up; in body heights from the point on the ground below the hips
Pose = dict[str, Point]


@dataclass(frozen=True)
class Actor:
    """One subject: build (in body heights), tempo (a factor) and clothes (grey levels)."""

    height: float
    girth: float
    leg: float
    tempo: float
    shirt: int
    trousers: int
    skin: int
    hair: int


@dataclass(frozen=True)
class Performance:
    """How one subject acts one class in one scenario.

    `cadence` is in cycles per frame, `travel` in background pixels per frame, `start` in cycles; `facing` is 1 (right)
    or -1 (left); `stride`, `knee`, `elbow` and `lean` are angles in radians, `bounce` is in body heights.
    Taught in notebook 01.
    """

    cadence: float
    travel: float
    start: float
    facing: int
    stride: float
    knee: float
    elbow: float
    lean: float
    bounce: float


def _reach(origin: Point, angle: float, length: float) -> Point:
    """The end of a bone; angle 0 hangs down, a quarter turn points forward."""
    return origin[0] + length * math.sin(angle), origin[1] - length * math.cos(angle)


def _add_arm(pose: Pose, side: str, shoulder: Point, swing: float, bend: float) -> None:
    pose[f"{side} shoulder"] = shoulder
    pose[f"{side} elbow"] = _reach(shoulder, swing, 0.165)
    pose[f"{side} hand"] = _reach(pose[f"{side} elbow"], swing + bend, 0.155)


def _add_leg(pose: Pose, side: str, hip: Point, swing: float, bend: float, actor: Actor) -> None:
    pose[f"{side} hip"] = hip
    pose[f"{side} knee"] = _reach(hip, swing, 0.245 * actor.leg)
    pose[f"{side} ankle"] = _reach(pose[f"{side} knee"], swing - bend, 0.235 * actor.leg)
    pose[f"{side} toe"] = _reach(pose[f"{side} ankle"], 0.7 * (swing - bend) + math.radians(82), 0.075)


def _add_trunk(pose: Pose, lean: float) -> Point:
    """Add neck and head above the hips and return where the shoulders are."""
    up = math.pi - lean
    pose["hips"] = (0.0, 0.0)
    pose["neck"] = _reach((0.0, 0.0), up, 0.30)
    pose["head"] = _reach(pose["neck"], up - 0.1, 0.105)
    return _reach((0.0, 0.0), up, 0.275)


def _stand(pose: Pose, lift: float = 0.0) -> Pose:
    """Move a pose up or down until its lower foot is `lift` above the ground."""
    sole = min(min(pose[f"{side} ankle"][1], pose[f"{side} toe"][1]) for side in ("near", "far")) - 0.022
    return {joint: (x, y - sole + lift) for joint, (x, y) in pose.items()}


def _gait(phase: float, act: Performance, actor: Actor) -> Pose:
    """Walking, jogging and running: one cycle is two steps, the two sides half a cycle apart."""
    pose: Pose = {}
    shoulder = _add_trunk(pose, act.lean)
    for side, offset in (("near", 0.0), ("far", 0.5)):
        angle = 2 * math.pi * (phase + offset)
        swing = act.stride * math.cos(angle) + 0.10
        forward = max(0.0, -math.sin(angle + 0.45))  # the leg that comes forward bends, early in its swing
        _add_leg(pose, side, (0.0, 0.0), swing, 0.10 + act.knee * forward**1.5, actor)
        _add_arm(pose, side, shoulder, -0.95 * act.stride * math.cos(angle) - 0.15 * act.elbow,
                 act.elbow - 0.25 * math.cos(angle))  # fmt: skip
    return _stand(pose, act.bounce * (0.5 + 0.5 * math.cos(4 * math.pi * phase)))


def _boxing(phase: float, act: Performance, actor: Actor) -> Pose:
    """From the side: one straight punch per arm and cycle out of the guard, in a wide stance."""
    pose: Pose = {}
    punches = {"near": max(0.0, math.sin(2 * math.pi * phase)) ** 1.3,
               "far": max(0.0, -math.sin(2 * math.pi * phase)) ** 1.3}  # fmt: skip
    shoulder = _add_trunk(pose, 0.6 * act.lean + 0.08 * max(punches.values()))
    for side, leg in (("near", -0.20), ("far", 0.26)):
        _add_leg(pose, side, (0.0, 0.0), leg + 0.05, 0.12, actor)
        out = punches[side]
        turned = (shoulder[0] + 0.05 * out, shoulder[1])  # the shoulder goes with the punch
        _add_arm(pose, side, turned, 0.25 + 1.30 * out, (2.15 + 0.1 * act.elbow) * (1 - out) + 0.05)
    return _stand(pose)


def _frontal(actor: Actor, lean: float = 0.0, legs: float = 0.07, knees: float = 0.0) -> tuple[Pose, dict[str, Point]]:
    """Someone who faces the camera, with the two shoulders; 'near' is the picture's right side.

    Angles in radians: `lean` of the trunk to that side, `legs` of each thigh outwards, `knees` of each knee inwards.
    """
    pose: Pose = {}
    middle, height = _add_trunk(pose, lean)
    shoulders = {"near": (middle + 0.10 * actor.girth, height), "far": (middle - 0.10 * actor.girth, height)}
    for side, sign in (("near", 1), ("far", -1)):
        _add_leg(pose, side, (0.05 * sign, 0.0), legs * sign, knees * sign, actor)
        ankle = pose[f"{side} ankle"]
        pose[f"{side} toe"] = (ankle[0] + 0.025 * sign, ankle[1] - 0.012)
    return pose, shoulders


def _handclapping(phase: float, act: Performance, actor: Actor) -> Pose:
    """Frontal: the hands meet before the chest and part to the sides."""
    pose, shoulders = _frontal(actor)
    apart = 0.5 - 0.5 * math.cos(2 * math.pi * phase)
    wide = 0.6 + 0.5 * act.stride  # some open their arms further than others
    for side, sign in (("near", 1), ("far", -1)):
        x, y = pose[f"{side} shoulder"] = shoulders[side]
        pose[f"{side} elbow"] = (x + sign * (0.03 + 0.13 * apart * wide), y - 0.14 + 0.05 * apart)
        pose[f"{side} hand"] = (sign * (0.012 + 0.44 * apart * wide), y - 0.09 - 0.02 * apart)
    return _stand(pose)


def _handwaving(phase: float, act: Performance, actor: Actor) -> Pose:
    """Frontal: both arms swing, nearly straight, in an arc from the sides to above the head."""
    pose, shoulders = _frontal(actor)
    swing = math.radians(93) - (math.radians(55) + 0.35 * act.stride) * math.cos(2 * math.pi * phase)
    for side, sign in (("near", 1), ("far", -1)):
        _add_arm(pose, side, shoulders[side], sign * swing, sign * (0.05 + 0.15 * act.elbow))
    return _stand(pose)


def _squatting(phase: float, act: Performance, actor: Actor) -> Pose:
    """Frontal: the knees go out and bend, the hands come up before the chest."""
    deep = (0.5 - 0.5 * math.cos(2 * math.pi * phase)) * (0.75 + 0.4 * act.stride)
    pose, shoulders = _frontal(actor, legs=0.10 + 0.95 * deep, knees=1.05 * deep)
    for side, sign in (("near", 1), ("far", -1)):
        _add_arm(pose, side, shoulders[side], sign * (0.12 + 0.25 * deep), -sign * (0.1 + (1.2 + 0.4 * act.elbow) * deep))
    return _stand(pose)


def _star_jumping(phase: float, act: Performance, actor: Actor) -> Pose:
    """Frontal: a jump apart, arms up, and a jump back; the feet leave the ground in between."""
    apart = 0.5 - 0.5 * math.cos(2 * math.pi * phase)
    pose, shoulders = _frontal(actor, legs=0.05 + (0.25 + 0.3 * act.stride) * apart)
    for side, sign in (("near", 1), ("far", -1)):
        _add_arm(pose, side, shoulders[side], sign * (0.15 + 2.5 * apart), sign * 0.2 * act.elbow)
    return _stand(pose, (0.03 + act.bounce) * math.sin(2 * math.pi * phase) ** 2)


def _side_bending(phase: float, act: Performance, actor: Actor) -> Pose:
    """Frontal: the trunk bends to one side, then to the other, the arms held up."""
    pose, shoulders = _frontal(actor, (0.35 + 0.5 * act.stride) * math.sin(2 * math.pi * phase), 0.16)
    lean = math.atan2(pose["neck"][0], pose["neck"][1])
    for side, sign in (("near", 1), ("far", -1)):
        _add_arm(pose, side, shoulders[side], math.pi - lean - sign * 0.35, sign * 0.5 * act.elbow)
    return _stand(pose)


def _standing(phase: float, act: Performance, actor: Actor) -> Pose:
    """Frontal: somebody who waits, arms hanging; the weight goes slowly from one leg to the other."""
    pose, shoulders = _frontal(actor, 0.03 * math.sin(2 * math.pi * phase))
    for side, sign in (("near", 1), ("far", -1)):
        _add_arm(pose, side, shoulders[side], sign * 0.12, sign * -0.1)
    return _stand(pose)


POSES: dict[str, Callable[[float, Performance, Actor], Pose]] = {
    "boxing": _boxing, "handclapping": _handclapping, "handwaving": _handwaving,
    "jogging": _gait, "running": _gait, "walking": _gait,
    "side_bending": _side_bending, "squatting": _squatting, "star_jumping": _star_jumping, "standing": _standing,
}  # fmt: skip
