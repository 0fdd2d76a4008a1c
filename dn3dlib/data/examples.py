"""Small imitations of what the data sets' owners publish, and a folder of broken videos: to look at before the real ones are there."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dn3dlib.data.acting import EXERCISES, FPS, MAX_SCENARIOS, render_video
from dn3dlib.data.merl import CLASSES as MERL_CLASSES
from dn3dlib.data.video import write_video
from dn3dlib.files import folder_written_beside
from dn3dlib.progress import progress_bar

_ACTIONS = ("boxing", "handwaving", "walking")
_PEOPLE, _TAKE = ("anna", "ben", "cleo", "dev", "eda"), 100  # who exercises, frames of a take


def make_examples(folder: Path, seed: int = 0) -> Path:
    """Write the folders `merl`, `ucf101`, `lists`, `flat` and `broken`, a few drawn videos in each. Taught in notebook 01.

    Args:
        folder: to be made; one that is there already is taken as it is.
        seed: of the drawn people.

    Returns:
        `folder`.
    """
    return _made_once(folder, lambda made: [write(made / name, seed) for name, write in _EXAMPLES.items()])


def make_phone_videos(folder: Path, seed: int = 7) -> Path:
    """Write what five people would film of three exercises and of nothing, as if with a phone. Taught in notebook 07.

    Each does each exercise five times for four seconds, and stands five times: `<folder>/<exercise>/<person>_<take>.mp4`. The first
    four takes are in four places, the fifth is in the first place again, later.

    Args:
        folder: to be made; one that is there already is taken as it is.
        seed: of the drawn people.

    Returns:
        `folder`.
    """
    return _made_once(folder, lambda made: _phone(made, seed))


def _made_once(folder: Path, write: Callable[[Path], object]) -> Path:
    """The folder; where it is not there yet, whole or not at all, with what `write` puts into it."""
    folder = Path(folder)
    if not folder.exists():
        with folder_written_beside(folder) as made:
            write(made)
    return folder


def _phone(folder: Path, seed: int) -> None:
    everybody = [(label, subject, person) for label in EXERCISES for subject, person in enumerate(_PEOPLE, 1)]
    for label, subject, person in progress_bar(everybody, desc="drawing", unit="person"):
        _takes(folder / label / person, label, subject, seed)


def _takes(beginning: Path, label: str, subject: int, seed: int) -> None:
    beginning.parent.mkdir(parents=True, exist_ok=True)
    in_places = [render_video(label, subject, place, seed, _TAKE * (1 + (place == 1))) for place in range(1, MAX_SCENARIOS + 1)]
    for take, frames in enumerate([*(frames[:_TAKE] for frames in in_places), in_places[0][_TAKE:]], 1):
        write_video(beginning.with_name(f"{beginning.name}_{take}.mp4"), frames, FPS, "mp4v")


def _write(path: Path, label: str, subject: int, seed: int, frames: int = 40, codec: str = "XVID") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, render_video(label, subject, 1, seed, frames), FPS, codec)
    return path


def _merl(folder: Path, seed: int) -> None:
    """Two people, one visit each. Instances as in the real labels: overlapping, shorter than a clip, beyond the end."""
    import scipy.io  # as in `merl.read_labels`

    instances = ([[11, 30]], [[41, 60]], [[25, 45], [95, 98]], [[100, 122]], [[161, 190]])
    for subject in (1, 27):
        _write(folder / "Videos_MERL_Shopping_Dataset" / f"{subject}_1_crop.mp4", "handclapping", subject % 8 + 1, seed, 180, "mp4v")
        cells = np.empty((len(MERL_CLASSES), 1), object)
        for place, ranges in enumerate(instances):
            cells[place, 0] = np.array(ranges)
        labels = folder / "Labels_MERL_Shopping_Dataset" / f"{subject}_1_label.mat"
        labels.parent.mkdir(exist_ok=True)
        scipy.io.savemat(labels, {"tlabs": cells})


def _ucf101(folder: Path, seed: int) -> None:
    """Two classes of four groups, two videos in each; in list 1 group 1 is tested, in list 2 group 2 …"""
    classes, lists = {"Boxing": "boxing", "Walking": "walking"}, folder / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("".join(f"{number} {name}\n" for number, name in enumerate(classes, 1)))
    named = []
    for number, (name, label) in enumerate(classes.items(), 1):
        for group in range(1, 5):
            for clip in (1, 2):
                video = f"{name}/v_{name}_g{group:02d}_c{clip:02d}.avi"
                _write(folder / "UCF-101" / video, label, group, seed, 20 + 5 * clip)
                named.append((video, number, group))
    for part in (1, 2, 3):
        (lists / f"trainlist{part:02d}.txt").write_text("".join(f"{v} {n}\n" for v, n, group in named if group != part))
        (lists / f"testlist{part:02d}.txt").write_text("".join(f"{v}\n" for v, _, group in named if group == part))


def _lists(folder: Path, seed: int) -> None:
    """Videos in one folder; two list files name them and their classes."""
    lines = {"train.txt": [], "test.txt": []}
    for subject in range(1, 5):
        for label in _ACTIONS:
            path = _write(folder / "videos" / f"{label[:4]}_{subject}.avi", label, subject, seed)
            lines["test.txt" if subject == 4 else "train.txt"].append(f"{path.relative_to(folder)} {label}\n")
    for name, named in lines.items():
        (folder / name).write_text("".join(named))


def _flat(folder: Path, seed: int) -> None:
    """All videos in one folder; class and subject stand in the file's name."""
    for subject in range(1, 4):
        for place, label in enumerate(_ACTIONS, 1):
            _write(folder / f"A{place}P{subject}T1.avi", label, subject, seed)


def _broken(folder: Path, seed: int) -> None:
    """One sound video, and seven in which something is wrong."""
    whole = _write(folder / "good.avi", "boxing", 1, seed)
    data = whole.read_bytes()
    (folder / "half.avi").write_bytes(data[: len(data) // 2])
    (folder / "no_frames.avi").write_bytes(data[: data.index(b"movi") + 4])
    (folder / "nothing.avi").touch()
    (folder / "text.avi").write_text("This is a text that somebody has renamed.\n")
    (folder / "gone.avi").symlink_to("elsewhere.avi")
    shutil.copy(whole, folder / "good_copy.avi")
    _write(folder / "short.avi", "walking", 2, seed, frames=6)


_EXAMPLES = {"merl": _merl, "ucf101": _ucf101, "lists": _lists, "flat": _flat, "broken": _broken}
