"""Players: what stands in the page that is handed to the notebook. How it behaves in a browser: `tests/browser`."""

import base64
import html
import io
import json
import re

import imageio.v3 as imageio
import numpy as np
import pytest
from PIL import Image

from dn3dlib.errors import ConfigError
from dn3dlib.show.players import LARGE, MAX_BYTES, SMALL, WIDEST, play


def ramp(count: int, height: int, width: int, channels: int = 1) -> np.ndarray:
    """Frames of one grey each, growing brighter."""
    values = np.linspace(20, 230, count).astype(np.uint8)
    return np.broadcast_to(values[:, None, None, None], (count, height, width, channels)).copy()


def page_in(player) -> str:
    """The page inside the player's frame."""
    return html.unescape(re.search(r'srcdoc="([^"]+)"', player.data)[1])


def film_in(player) -> dict:
    return json.loads(re.search(r"const film = (\{.*?\});\n", page_in(player))[1])


def clips_in(player) -> dict[str, np.ndarray]:
    """What each clip shows at each tick, as the page cuts it out."""
    film = film_in(player)
    kind, data = film["source"].split(";base64,")
    if film["video"]:
        frames = imageio.imread(base64.b64decode(data), plugin="FFMPEG", extension=".mp4")
    else:
        sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
        places = [divmod(tick, film["columns"]) for tick in range(film["ticks"])]
        frames = np.stack([sheet[row * film["height"] :, column * film["width"] :][: film["height"], : film["width"]] for row, column in places])
    assert kind == ("data:video/mp4" if film["video"] else "data:image/webp")
    assert frames.shape == (film["ticks"], film["height"], film["width"], 3)
    return {clip["label"]: frames[:, : clip["height"], clip["x"] : clip["x"] + clip["width"]] for clip in film["clips"]}


@pytest.mark.parametrize(
    ("shape", "scale"),
    [((16, 64, 64, 1), 4), ((20, 60, 80, 3), 3), ((1, 120, 160, 3), 2), ((5, 31, 241, 1), 1), ((3, 1, 1, 1), SMALL)],
)
def test_a_player_holds_every_frame_once_and_shows_whole_pixels(shape, scale):
    frames = ramp(*shape)
    player = play(frames, fps=10, label="ramp")
    shown = clips_in(player)["ramp"]
    assert shown.shape == (*shape[:3], 3)
    assert np.abs(shown.mean((1, 2, 3)) - frames.mean((1, 2, 3))).max() < 4
    assert film_in(player)["clips"][0]["scale"] == scale and film_in(player)["fps"] == 10


def test_a_large_clip_is_reduced_but_where_every_pixel_is_asked_for():
    frames = ramp(2, 50, 801)
    assert np.array_equal(clips_in(play(frames, exact=True))[""], np.broadcast_to(frames, (2, 50, 801, 3)))
    assert clips_in(play(ramp(4, 300, 800, 3)))[""].shape == (4, 150, LARGE, 3)


def test_grey_frames_need_no_channel_axis():
    assert clips_in(play(ramp(4, 64, 64)[..., 0]))[""].shape == (4, 64, 64, 3)


def test_every_pixel_is_there_where_that_is_asked_for():
    noise = np.random.default_rng(0).integers(0, 256, (16, 31, 33, 3), dtype=np.uint8)
    maps = np.random.default_rng(1).integers(0, 256, (8, 8, 8), dtype=np.uint8)
    shown = clips_in(play({"clip": noise, "map": maps}, {"clip": 12, "map": 6}, exact=True))
    assert np.array_equal(shown["clip"], noise)
    assert np.array_equal(shown["map"][..., 0], maps.repeat(2, axis=0)), "half as many frames, each for two ticks"


def test_a_clip_of_colours_survives_the_codec():
    frames = np.zeros((8, 48, 48, 3), np.uint8)
    frames[:, :, 24:] = (200, 60, 20)
    shown = clips_in(play(frames))[""]
    assert np.abs(shown[:, 8:40, 32:40].astype(int) - (200, 60, 20)).max() < 12 and shown[:, :, :16].max() < 12


def test_a_shorter_clip_waits_in_its_last_frame():
    shown = clips_in(play({"long": ramp(10, 32, 32), "short": ramp(4, 32, 32)}, 25, exact=True))
    assert np.array_equal(shown["short"][4:], shown["short"][3:4].repeat(6, axis=0))
    assert len(np.unique(shown["long"][:, 0, 0, 0])) == 10


def test_clips_beside_each_other_are_shown_as_large_and_share_no_block_of_the_codec():
    film = film_in(play({"clip": ramp(4, 64, 60), "map": ramp(4, 16, 15), "picture": ramp(4, 240, 320)}))
    assert [clip["width"] * clip["scale"] for clip in film["clips"]] == [300, 315, 320]
    assert all(clip["x"] % 16 == 0 for clip in film["clips"])


def test_many_clips_stand_in_rows():
    sizes = {}
    for count in (1, 3, 4):
        player = play({str(n): ramp(2, 64, 64) for n in range(count)})
        sizes[count] = [int(n) for n in re.search(r'width="(\d+)" height="(\d+)"', player.data).groups()]
    assert sizes[3][0] < WIDEST + 20 and sizes[4][0] == sizes[3][0], "no wider than a row"
    assert sizes[4][1] > sizes[3][1] + 256


def test_a_player_names_what_it_shows_and_runs_nothing_from_a_label():
    label = '"walking" & </script><b onload=x>'
    player = play(ramp(4, 64, 64), label=label)
    assert film_in(player)["label"] == film_in(player)["clips"][0]["label"] == label
    assert "<b" not in player.data and page_in(player).count("</script>") == 1
    assert 'title="player: &quot;walking&quot; &amp; ' in player.data
    assert film_in(play(ramp(4, 64, 64)))["label"] == "a clip of 4 frames"
    assert film_in(play({"one": ramp(4, 64, 64), "two": ramp(4, 64, 64)}))["label"] == "one, two"


def test_the_page_in_the_frame_may_run_scripts_and_nothing_else():
    assert re.findall(r'sandbox="([^"]*)"', play(ramp(2, 64, 64)).data) == ["allow-scripts"]
    assert "http" not in page_in(play(ramp(2, 64, 64)))


def test_every_control_has_a_name_and_a_key():
    page = page_in(play(ramp(4, 64, 64)))
    controls = re.findall(r"<(?:button|select|input)[^>]*>", page)
    assert len(controls) == 8 and all("aria-label='" in control for control in controls)
    assert {"Space", "ArrowLeft", "ArrowRight", "ArrowUp ArrowDown", "L", "Plus", "-"} == set(re.findall(r"aria-keyshortcuts='([^']+)'", page))


def test_where_no_script_runs_three_frames_stand_there():
    frames = ramp(9, 64, 64)
    still = re.search(r'<img src="data:image/webp;base64,([^"]+)" alt="ramp: first, middle and last frame"', play(frames, label="ramp").data)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(still[1]))).convert("RGB")).astype(int)
    assert picture.shape == (64, 192, 3)
    assert all(abs(picture[32, 64 * place + 32, 0] - frames[n, 0, 0, 0]) < 5 for place, n in enumerate((0, 4, 8)))


@pytest.mark.parametrize("exact", [False, True])
def test_a_real_size_stays_small(exact):
    """16 frames of 120×100 with the slight noise of a camera: moving blobs on a background."""
    random, grid = np.random.default_rng(0), np.mgrid[:100, :120]
    blob = [np.exp(-((grid[0] - 50) ** 2 + (grid[1] - 20 - 5 * n) ** 2) / 200) for n in range(16)]
    frames = np.uint8(90 + 120 * np.stack(blob)[..., None] + random.integers(0, 3, (16, 100, 120, 1)))
    player = play(frames, exact=exact)
    assert len(player.data) < MAX_BYTES
    assert np.abs(clips_in(player)[""].astype(int) - frames).max() <= (0 if exact else 12)


def test_a_noisy_player_gets_coarser_until_it_fits():
    noise = np.random.default_rng(0).integers(0, 256, (30, 60, 80, 1), dtype=np.uint8)
    player = play(noise)
    assert len(player.data) < MAX_BYTES + 1000 and len(clips_in(player)[""]) == 30
    with pytest.raises(ConfigError, match="30 frames do not fit into a player of 100 KB: .* without `exact`"):
        play(noise, exact=True)


@pytest.mark.parametrize(
    "frames",
    [np.zeros((4, 64, 64, 1), np.float32), np.zeros((64, 64), np.uint8), np.zeros((4, 64, 64, 2), np.uint8),
     np.zeros((0, 64, 64, 1), np.uint8), "frames", None],
)  # fmt: skip
def test_a_player_refuses_what_is_no_video(frames):
    with pytest.raises(ConfigError, match="A player needs frames as uint8"):
        play(frames)
    with pytest.raises(ConfigError, match="A player needs frames as uint8"):
        play({"good": ramp(2, 64, 64), "bad": frames})


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), "fast"])
def test_a_player_refuses_an_impossible_rate(fps):
    with pytest.raises(ConfigError, match="fps is"):
        play(ramp(2, 64, 64), fps=fps)


def test_labels_and_rates_may_be_numbers_of_any_kind():
    film = film_in(play({1: ramp(2, 64, 64), 2: ramp(2, 64, 64)}, {1: np.float32(5), 2: np.int64(10)}))
    assert [clip["label"] for clip in film["clips"]] == ["1", "2"] and film["fps"] == 10
    with pytest.raises(ConfigError, match="fps is True"):
        play(ramp(2, 64, 64), fps=True)


def test_more_than_a_browser_draws_is_refused():
    with pytest.raises(ConfigError, match="30 clips of 2 frames, 12000 pixels wide beside each other, are too large"):
        play({str(n): ramp(2, 20, 400) for n in range(30)})
    with pytest.raises(ConfigError, match="too large"):
        play(ramp(200, 200, 4100), exact=True)
    assert len(play({str(n): ramp(2, 20, 400) for n in range(20)}).data) < 20 * MAX_BYTES


def test_several_clips_without_names_are_told_how_to_come():
    with pytest.raises(ConfigError, match="several clips are given as label → frames"):
        play([ramp(2, 64, 64), ramp(2, 64, 64)])


def test_a_player_refuses_nothing_and_rates_of_other_clips():
    with pytest.raises(ConfigError, match="no clip to play"):
        play({})
    with pytest.raises(ConfigError, match="fps is for 'other', but the clips are 'one'"):
        play({"one": ramp(2, 64, 64)}, fps={"other": 3})
