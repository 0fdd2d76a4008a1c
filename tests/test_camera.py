"""The live label in a notebook: a file as the camera, lines without a page, a picture and a stop button on one."""

import shutil
from pathlib import Path

import pytest

from dn3dlib.data.acting import render_video
from dn3dlib.data.video import write_video
from dn3dlib.errors import VideoError
from dn3dlib.show import camera


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory) -> Path:
    """A copy of the finished run, in which a threshold is kept."""
    return Path(shutil.copytree(trained, tmp_path_factory.mktemp("camera") / "run"))


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Eight seconds of walking."""
    path = tmp_path_factory.mktemp("film") / "film.avi"
    write_video(path, render_video("walking", 3, 1, frames=200), 25)
    return path


def test_without_a_camera_a_sentence_and_a_file_instead(run, film, capsys):
    seen = camera.show_live(run, 99, seconds=2, instead=film, device="cpu")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("There is no camera 99") and lines[0].endswith("Here film.avi stands for it.")
    assert 2 <= seen[-1].time < 2.2 and len(seen) == 13, "a clip of 4 frames, one more every 4, up to 2 seconds"
    changes = [one for one, before in zip(seen, [None, *seen], strict=False) if before is None or one.label != before.label]
    assert lines[1:] == [camera._words(label) for label in changes]


def test_without_a_file_it_is_an_error(run):
    with pytest.raises(VideoError, match="no camera 99"):
        camera.show_live(run, 99, device="cpu")


def test_on_a_page_a_picture_stays_and_the_button_ends_it(run, film, cell):
    setup = f"from pathlib import Path\nfrom dn3dlib.show.camera import show_live\nrun, film = Path({str(run)!r}), Path({str(film)!r})"
    cell(setup)
    pressed = []

    def press():
        buttons = [comm for comm, state in cell.opened.items() if state.get("description") == "■ Stop"]
        pictures = [data for shown in cell.shown.values() for data in shown if "<img" in data.get("text/html", "")]
        if buttons and len(pictures) >= 3 and not pressed:
            pressed.append(buttons[0])
            cell.press(buttons[0])

    printed = cell("seen = show_live(run, film, seconds=100, device='cpu'); print(len(seen), seen[-1].time < 8)", "one", press)
    assert pressed and printed.split()[1] == "True", "it ended before the film"
    pictures = [data["text/html"] for shown in cell.shown.values() for data in shown if "<img" in data.get("text/html", "")]
    assert "data:image/jpeg" in pictures[-1] and 'alt="' in pictures[-1] and "certainty" in pictures[-1]
    assert any(shown[-1].get("text/html") == "" for shown in cell.shown.values()), "the button's place is empty in the saved notebook"


def test_under_papermill_lines_and_one_picture(run, film, cell):
    cell(f"from pathlib import Path\nfrom dn3dlib.show.camera import show_live\nrun, film = Path({str(run)!r}), Path({str(film)!r})")
    printed = cell("seen = show_live(run, film, device='cpu')")
    assert printed.startswith("0.2 s: ") and len(cell.shown) == 1
