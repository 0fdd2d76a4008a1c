"""The command explain: where and when a run sees evidence for a class in a video, as a picture or a video."""

from pathlib import Path
from typing import Annotated

import typer

from dn3dlib.cli.shell import DEVICE, JSON, app, show
from dn3dlib.config import nearest
from dn3dlib.errors import ConfigError
from dn3dlib.files import plain_disk_errors, write_bytes

METHODS = {"gradcam": "Grad-CAM", "occlusion": "occlusion"}
ENDINGS = (".png", ".mp4")
_SLOWER = 4  # times: a clip takes less than a second


@app.command()
def explain(
    video: Annotated[Path, typer.Argument(help="A video file of any format.")],
    run: Annotated[Path, typer.Option(help="The run.")],
    out: Annotated[Path, typer.Option(help="A new file: .png for a strip of frames, .mp4 for a video.")],
    layer: Annotated[str | None, typer.Option(help="Of gradcam: whose maps are weighted; default: the last that is fine enough.")] = None,
    target: Annotated[str | None, typer.Option(help="The class to find evidence for; default: the predicted one.")] = None,
    start: Annotated[int | None, typer.Option(help="The clip's first frame, counted from 0; default: the clip in the middle.")] = None,
    method: Annotated[str, typer.Option(help="gradcam, or occlusion: slower, and asks the network in another way.")] = "gradcam",
    device: DEVICE = "auto",
    as_json: JSON = False,
) -> None:
    """Show which parts of a video, and when, speak for a class, as a run's best network sees it."""
    _check(out, method, layer)
    from dn3dlib.data.one_clip import clip_of_video
    from dn3dlib.train.runs import Run

    opened = Run.open(run)
    if target is not None and target not in opened.classes:
        raise ConfigError(f"The run {run} knows no class {target!r}: {nearest(target, opened.classes)}")
    clip = clip_of_video(video, opened.storage, opened.clip, start, opened.train.seed)
    found, heat = _explained(opened, clip.values, target, method, layer, device)
    _write(out, video, clip, heat, f"{METHODS[method]}: evidence for {found['target']}, predicted {found['predicted']}")
    frames = {"video": str(video), "run": str(run), "frames": clip.numbers.tolist()}
    show(as_json, frames | found | {"out": str(out)}, lambda: _describe(frames | found, out))


def _check(out: Path, method: str, layer: str | None) -> None:
    """Refuse, before anything is loaded, what could not be written or does not go together."""
    if method not in METHODS:
        raise ConfigError(f"There is no method {method!r}: {nearest(method, METHODS)}")
    if method != "gradcam" and layer is not None:
        raise ConfigError(f"--layer belongs to --method gradcam; {method} looks at no layer: leave one of the two out.")
    if out.suffix.lower() not in ENDINGS:
        raise ConfigError(f"--out {out} ends in neither {' nor '.join(ENDINGS)}: end it in .png for a picture, in .mp4 for a video.")
    if out.exists():
        raise ConfigError(f"--out {out} already exists: choose another name.")
    with plain_disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)


def _explained(run, values, target: str | None, method: str, layer: str | None, device: str) -> tuple[dict, object]:
    """What is predicted and explained, ready for JSON, and the heat float32 (frames, height, width)."""
    from dn3dlib.explain.gradcam import grad_cam
    from dn3dlib.explain.layers import map_layer
    from dn3dlib.explain.occlusion import occlude
    from dn3dlib.metrics import softmax
    from dn3dlib.train.best import load_best
    from dn3dlib.train.strategy import choose_strategy

    with choose_strategy(device)[0].scope():
        network = load_best(run)
        probabilities = softmax(network(values[None], training=False).numpy())[0]
        predicted = run.classes[probabilities.argmax()]
        wanted = run.classes.index(target or predicted)
        if method == "gradcam":
            layer = map_layer(network, layer).name
            heat = grad_cam(network, values[None], wanted, layer)[0]
        else:
            heat = occlude(network, values, wanted, show_progress=True).heat()
    shares = {name: round(float(p), 6) for name, p in zip(run.classes, probabilities, strict=True)}
    return {"predicted": predicted, "probabilities": shares, "target": run.classes[wanted], "method": method, "layer": layer}, heat


def _write(out: Path, video: Path, clip, heat, title: str) -> None:
    import numpy as np

    from dn3dlib.data.video import header
    from dn3dlib.data.windows import USUAL_RATE
    from dn3dlib.show.explain import heat_strip, overlay, watchable
    from dn3dlib.show.players import mp4

    if out.suffix.lower() == ".png":
        data = heat_strip(clip.frames, {"evidence": heat}, clip.numbers, title).png()
    else:
        both = np.concatenate([watchable(clip.frames), overlay(clip.frames, heat)], axis=2)
        data = mp4(both, (header(video).fps or USUAL_RATE) / _SLOWER)
    write_bytes(out, data)


def _describe(found: dict, out: Path) -> str:
    numbers, shares = found["frames"], found["probabilities"]
    width = max(map(len, shares))
    where = f"{METHODS[found['method']]}" + (f" at layer {found['layer']}" if found["layer"] else "")
    lines = [f"{found['video']}, frames {min(numbers)} to {max(numbers)} (counted from 0): {found['predicted']}"]
    lines += [f"  {name:<{width}}  {share:.3f}" for name, share in sorted(shares.items(), key=lambda item: -item[1])]
    slow = f", {_SLOWER} times slower than the video" if out.suffix.lower() == ".mp4" else ""
    return "\n".join([*lines, f"  evidence for {found['target']}, {where}: {out}{slow}"])
