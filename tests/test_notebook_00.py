"""Notebook 00 as papermill runs it: on a video of one's own, and on a person of the kit's."""

from executed import outputs_of, printed

from dn3dlib.places import data_home


def tables(notebook) -> list[str]:
    htmls = ["".join(output["data"].get("text/html", "")) for output in outputs_of(notebook) if "data" in output]
    return [html for html in htmls if html.startswith("<table>")]


def test_on_a_video_of_ones_own(papermill, source, tmp_path):
    """24 frames: shorter than the clip of stride 2 asks for, so it starts again."""
    video = next(source.glob("walking/*.avi"))
    done = papermill("00_start_here", video=video, stride=2, device="cpu")
    assert done.returncode == 0, done.stderr[-3000:]
    notebook = tmp_path / "00_start_here.ipynb"
    said = printed(notebook)
    assert f"{video.name} (24, 120, 160, 3)" in said and str(video.parent) not in said
    assert "frames of the clip: [10 12 14 16 18 20 22 24 26 28 30 32 34 36 38 40]" in said
    assert "(16, 120, 160, 3) -> (16, 64, 64, 1) that is 65536 numbers" in said
    assert "VideoError: no_such_video.avi does not exist; check" in said and "did you mean quick?" in said
    assert "not yet: put your answer" in said and "Usage: " in said
    machine, course = tables(notebook)
    assert machine.count("✓ good") >= 6 and "reading videos" in machine
    assert "00 · Start here" in course and "02 · Train a network" in course
    assert not (tmp_path / "data").exists(), "a video of one's own needs no drawn ones"


def test_another_action_of_a_person_whom_the_network_has_never_seen(papermill, tmp_path):
    drawn = data_home() / "synthetic-0"
    if drawn.is_dir():  # else it is drawn now
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "synthetic-0").symlink_to(drawn.resolve())
    done = papermill("00_start_here", action="handwaving", person=2, start=0, device="cpu")
    assert done.returncode == 0, done.stderr[-3000:]
    said = printed(tmp_path / "00_start_here.ipynb")
    assert "person02_handwaving_d1_uncomp.avi" in said and "its answer: handwaving" in said
