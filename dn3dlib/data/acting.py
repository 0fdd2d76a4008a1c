"""Drawn people who act the six KTH actions, which the synthetic videos show, or do exercises.

Boxing, clapping and waving differ in pose. Walking, jogging and running share one gait and one range of poses: they
differ in how fast the phase of the gait advances, so that only the order of the frames tells them apart.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from dn3dlib.data.poses import POSES, Actor, Performance, Point, Pose
from dn3dlib.errors import ConfigError

CLASSES = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
EXERCISES = ("side_bending", "squatting", "star_jumping", "standing")  # which KTH has not; of the last nobody moves
ACTIONS = (*CLASSES, *EXERCISES)
FRONTAL = ("handclapping", "handwaving", *EXERCISES)  # seen from the front
FPS = 25
SIZE = (120, 160)  # height, width in pixels, as in KTH
MAX_SUBJECTS = 99  # the file names have two digits
MAX_FRAMES = 10_000
MAX_SCENARIOS = 4  # d1 outdoors, d2 outdoors with scale change, d3 outdoors in other clothes, d4 indoors

GAITS = ("walking", "jogging", "running")  # from slow to fast
# Cycles per frame. 16 frames of walking show a little over half a cycle, and the other half looks the same with left
# and right exchanged: as a set of poses, a walking clip and a running clip hold the same silhouettes.
CADENCE = {"walking": 0.034, "jogging": 0.056, "running": 0.091,
           "boxing": 0.050, "handclapping": 0.060, "handwaving": 0.048,
          "side_bending": 0.022, "squatting": 0.030, "star_jumping": 0.045, "standing": 0.010}  # fmt: skip

SHIFT = 4  # cv2 draws in sixteenths of a pixel: whole numbers, equal on every machine
GROUND = 112  # the row of the feet, in pixels
BACKGROUND_WIDTH = 640  # the scrolled background repeats after this many pixels
MARGIN = 20  # rows of background above and below the picture, for when the camera zooms out


def performance(label: str, subject: int, scenario: int, seed: int = 0) -> Performance:
    """Draw the tempo and the style of one video; the arguments are those of `render_video`.

    Style and class are nearly independent: a bent elbow, a long stride or a lean says little about the gait. The way
    travelled depends on how far away the background is, so it overlaps between the gaits too.
    Raises ConfigError for an unknown label or a number out of range. Taught in notebook 01.
    """
    _check(label, subject, scenario, seed)
    rng = np.random.default_rng([seed, 1, subject, scenario, ACTIONS.index(label)])
    effort = GAITS.index(label) if label in GAITS else 0
    style = 0.18 * effort + 0.64 * rng.random()  # the class moves the middle of a wide range only a little
    wobble = rng.uniform(-0.12, 0.12, 4)
    return Performance(
        cadence=CADENCE[label] * _actor(subject, seed, scenario).tempo * rng.uniform(0.98, 1.02),
        travel=(1 + 0.12 * effort) * rng.uniform(1.6, 4.0) if label in GAITS else 0.0,
        start=rng.random(),
        facing=1 if (subject + scenario) % 2 else -1,
        stride=math.radians(25 + 11 * (style + wobble[0])),
        knee=math.radians(48 + 40 * (style + wobble[1])),
        elbow=math.radians(30 + 55 * (style + wobble[2])),
        lean=math.radians(2 + 10 * (style + wobble[3])),
        bounce=0.012 + 0.03 * style,
    )


def _actor(subject: int, seed: int, scenario: int) -> Actor:
    build = np.random.default_rng([seed, 2, subject])
    height, girth, leg, tempo = (build.uniform(low, high) for low, high in
                                 ((0.93, 1.07), (0.88, 1.18), (0.97, 1.03), (0.92, 1.08)))  # fmt: skip
    skin, hair = int(build.integers(140, 200)), int(build.integers(15, 75))
    clothes = np.random.default_rng([seed, 3, subject, int(scenario == 3)])  # d3: the other clothes
    shirt, trousers = int(clothes.integers(35, 110)), int(clothes.integers(20, 85))
    return Actor(height, girth, leg, tempo, shirt, trousers, skin, hair)


@dataclass(frozen=True)
class _Pen:
    """Draws round-ended tapered limbs of a body onto a frame, lit by one factor."""

    frame: np.ndarray
    foot: Point  # pixel of the point on the ground below the hips
    scale: float  # pixels per body height
    facing: int
    light: float

    def limb(self, start: Point, end: Point, radii: tuple[float, float], grey: float) -> None:
        (x0, y0), (x1, y1) = ((self.foot[0] + self.facing * x * self.scale, self.foot[1] - y * self.scale)
                              for x, y in (start, end))  # fmt: skip
        r0, r1 = (radius * self.scale for radius in radii)
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        across = (-(y1 - y0) / length, (x1 - x0) / length)
        outline = ((x0, y0, r0), (x1, y1, r1), (x1, y1, -r1), (x0, y0, -r0))
        corners = [(x + r * across[0], y + r * across[1]) for x, y, r in outline]
        colour = round(min(max(grey * self.light, 0.0), 255.0))
        cv2.fillConvexPoly(self.frame, self._fixed(corners), colour, cv2.LINE_AA, SHIFT)
        for centre, radius in (((x0, y0), r0), ((x1, y1), r1)):
            middle, wide = self._fixed(centre).tolist(), round(radius * 2**SHIFT)
            cv2.circle(self.frame, middle, wide, colour, cv2.FILLED, cv2.LINE_AA, SHIFT)

    @staticmethod
    def _fixed(points) -> np.ndarray:
        return np.rint(np.asarray(points) * 2**SHIFT).astype(np.int32)


def _draw(pen: _Pen, pose: Pose, actor: Actor, frontal: bool) -> None:
    def arm(side: str, shade: float) -> None:
        shoulder, elbow, hand = (pose[f"{side} {joint}"] for joint in ("shoulder", "elbow", "hand"))
        pen.limb(shoulder, elbow, (0.038 * actor.girth, 0.030 * actor.girth), actor.shirt * shade)
        pen.limb(elbow, hand, (0.030 * actor.girth, 0.023 * actor.girth), actor.shirt * shade)
        pen.limb(hand, hand, (0.027, 0.027), actor.skin * shade)

    def leg(side: str, shade: float) -> None:
        hip, knee, ankle, toe = (pose[f"{side} {joint}"] for joint in ("hip", "knee", "ankle", "toe"))
        pen.limb(ankle, toe, (0.024, 0.018), 0.6 * actor.trousers * shade)
        pen.limb(hip, knee, (0.058 * actor.girth, 0.042 * actor.girth), actor.trousers * shade)
        pen.limb(knee, ankle, (0.042 * actor.girth, 0.028 * actor.girth), actor.trousers * shade)

    near, far = (1.15, 1.15) if frontal else (1.15, 0.9)  # the far side lies in the shade of the body
    if not frontal:
        arm("far", far)
    leg("far", far)
    leg("near", near)
    for side in ("near", "far"):
        pen.limb(pose[f"{side} shoulder"], pose[f"{side} hip"], (0.05 * actor.girth, 0.055 * actor.girth), actor.shirt)
    pen.limb(pose["neck"], pose["hips"], (0.05 * actor.girth, 0.06 * actor.girth), actor.shirt)
    pen.limb(pose["neck"], pose["head"], (0.028, 0.03), 0.85 * actor.skin)
    (x, y) = pose["head"]
    pen.limb((x - (0.0 if frontal else 0.012), y + 0.02), (x, y + 0.012), (0.060, 0.056), actor.hair)
    pen.limb((x + (0.0 if frontal else 0.018), y - 0.004), (x, y - 0.022), (0.046, 0.040), actor.skin)
    for side, shade in (("far", far), ("near", near)) if frontal else (("near", near),):
        arm(side, shade)


def _background(scenario: int, rng: np.random.Generator) -> np.ndarray:
    """A wall or a meadow, uint8 (height + margins, BACKGROUND_WIDTH), whose right edge continues at its left edge."""
    rows = np.arange(-MARGIN, SIZE[0] + MARGIN)
    top, bottom, horizon, grain = {1: (165, 150, -MARGIN, 11), 2: (205, 165, 58, 12),
                                   3: (190, 175, 20, 11), 4: (200, 150, 104, 4)}[scenario]  # fmt: skip
    slope = np.where(rows < horizon, top - rows // 8, bottom + (rows - horizon) // 6) + rng.integers(-15, 16)
    coarse = rng.integers(0, 256, (len(rows) // 4, BACKGROUND_WIDTH // 8), dtype=np.uint8).repeat(4, 0).repeat(8, 1)
    fine = rng.integers(0, 256, (len(rows), BACKGROUND_WIDTH), dtype=np.uint8)
    # Low contrast: a scroll that leaps to the eye would tell the gaits apart without the figure.
    texture = [cv2.blur(np.hstack([layer, layer, layer]), size)[:, BACKGROUND_WIDTH : 2 * BACKGROUND_WIDTH]
               for layer, size in ((coarse, (9, 3)), (fine, (3, 3)))]  # fmt: skip
    rough = (texture[0].astype(np.int32) - 128) * grain // 64 + (texture[1].astype(np.int32) - 128) * grain // 56
    return np.clip(slope[:, None] + rough, 0, 255).astype(np.uint8)


def render_video(label: str, subject: int, scenario: int, seed: int = 0, frames: int = 100) -> np.ndarray:
    """Draw one video: uint8 (frames, 120, 160), grey, 25 frames a second.

    `subject` counts from 1, `scenario` is 1 to 4 (KTH's d1 to d4). The same five arguments give the same pixels,
    whatever else was drawn before; fewer `frames` are the beginning of the same video.
    Raises ConfigError for an unknown label or a number out of range. Taught in notebook 01.
    """
    act, actor = performance(label, subject, scenario, seed), _actor(subject, seed, scenario)
    check_range("frames", frames, 1, MAX_FRAMES)
    rng = np.random.default_rng([seed, 4, subject, scenario, ACTIONS.index(label)])
    background = _background(scenario, rng)
    light, sway, pulse = rng.uniform(0.85, 1.12), rng.random(3), rng.uniform(0.004, 0.007, 3)
    size = 84 * actor.height * rng.uniform(0.96, 1.04)
    video = np.empty((frames, *SIZE), np.uint8)
    for index in range(frames):
        slow = np.sin(2 * math.pi * (sway + pulse * index))  # the camera's own unrest, far slower than any action
        zoom = 0.97 + 0.1 * slow[0] if scenario == 2 else 1.0
        jitter_x, jitter_y = rng.integers(-1, 2, 2) * 0.5
        video[index] = _scroll(background, act.facing * act.travel * index + 3 * slow[2] - jitter_x, zoom, light)
        foot = (SIZE[1] / 2 + 7 * slow[1] + jitter_x, GROUND + 2 * slow[2] + jitter_y)
        pen = _Pen(video[index], foot, size * zoom, act.facing, light)
        _draw(pen, POSES[label](act.start + act.cadence * index, act, actor), actor, label in FRONTAL)
        noise = rng.integers(-2, 3, SIZE, dtype=np.int16) + rng.integers(-1, 2, SIZE, dtype=np.int16)
        video[index] = np.clip(video[index] + noise, 0, 255)
    return video


def _scroll(background: np.ndarray, offset: float, zoom: float, light: float) -> np.ndarray:
    """Cut the camera's view out of the background; zooming leaves the ground under the feet in place."""
    height, width = SIZE
    rows = np.rint(MARGIN + GROUND + (np.arange(height) - GROUND) / zoom).astype(int)
    columns = np.rint((np.arange(width) - width / 2) / zoom + offset).astype(int) % BACKGROUND_WIDTH
    return np.clip(background[rows[:, None], columns] * light, 0, 255).astype(np.uint8)


def _check(label: str, subject: int, scenario: int, seed: int) -> None:
    if label not in ACTIONS:
        raise ConfigError(f"{label!r} is not an action that can be drawn: choose one of {', '.join(ACTIONS)}")
    check_range("subject", subject, 1, MAX_SUBJECTS)
    check_range("scenario", scenario, 1, MAX_SCENARIOS)
    check_range("seed", seed, 0, 2**63 - 1)


def check_range(name: str, value: int, low: int, high: int) -> None:
    if not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise ConfigError(f"{name} is {value}, but the synthetic set takes whole numbers from {low} to {high}")
