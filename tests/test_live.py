"""The live board: what it draws and says, that it costs nothing but words without a page, and that its button stops a training."""

import math
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import pytest

from dn3dlib.errors import ConfigError
from dn3dlib.show import live
from dn3dlib.show.board import Board
from dn3dlib.show.live import LiveBoard
from dn3dlib.train.observer import Moment
from dn3dlib.train.runs import COLUMNS, Run

SVG = "{http://www.w3.org/2000/svg}"
VALIDATION = ("validation_loss", "validation_clip_accuracy", "validation_sequence_accuracy")
RUN = SimpleNamespace(train=SimpleNamespace(epochs=4), classes=["run", "walk"])
COMMS = "import gc; from IPython import get_ipython; gc.collect(); print(len(get_ipython().kernel.comm_manager.comms))"
TRAIN = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from dn3dlib.config import ClipConfig, ModelConfig, TrainConfig
from dn3dlib.show.live import LiveBoard
from dn3dlib.train.loop import resume, train
from dn3dlib.train.runs import Run
clip, model = ClipConfig(frames=4, hop=4), ModelConfig(growth_rate=2, depth=7, blocks=2)
def go(name, epochs):
    board = LiveBoard(Run.open({trained!r}).history(), "an <earlier> run")
    return train({prepared!r}, {folder!r} + name, clip, model, TrainConfig(epochs=epochs, batch_size=8), device="cpu", observers=(board,))
"""


def rows(epochs: int, validation: bool = True) -> list[dict]:
    found = [dict.fromkeys(COLUMNS, 0.5) | {"epoch": epoch, "train_loss": 2 / epoch} for epoch in range(1, epochs + 1)]
    return found if validation else [row | dict.fromkeys(VALIDATION) for row in found]


def a_moment(epoch: int, step: int, **changes) -> Moment:
    values = {"validating": False, "learning_rate": 0.0125, "loss": 0.75, "clip_accuracy": 0.5, "clips_per_second": 88.25, "seconds_left": 83.0}
    return Moment(epoch=epoch, epochs=4, step=step, steps=10, **(values | changes))


def drawn(board: Board) -> ElementTree.Element:
    picture = ElementTree.fromstring(board.svg())
    assert picture.get("role") == "img" and picture.get("aria-label").startswith("Curves of loss and accuracy over epochs. ")
    return picture


def lines_of(picture: ElementTree.Element, **attributes: str) -> list[str]:
    paths = [path for path in picture.iter(f"{SVG}path") if path.get("fill") == "none"]
    return [path.get("d") for path in paths if all(path.get(name.replace("_", "-")) == value for name, value in attributes.items())]


# --- what it draws ---------------------------------------------------------------------------------------------------


def test_its_words_hold_every_figure():
    board = Board(4, 2, rows(1), rows(2), "the other", state="Training")
    board.add(a_moment(2, 3))
    assert board.words() == [
        "Training",
        "Epoch 2 of 4 · step 3 of 10 · loss 0.750 · clip accuracy 0.50 · learning rate 0.0125 · 88.2 clips/s · 1 min 23 s left",
        "epoch 1: loss 2.000, clip accuracy 0.50; validation loss 0.500, sequence accuracy 0.50",
        "the other, epoch 1: loss 2.000, clip accuracy 0.50; validation loss 0.500, sequence accuracy 0.50",
    ]
    assert all(line in drawn(board).get("aria-label") for line in board.words())
    board.add(a_moment(2, 10, validating=True, clips_per_second=None, seconds_left=7300))
    assert "validating · loss 0.750" in board.words()[1] and board.words()[1].endswith("0.0125 · 2 h 01 min left")


def test_curves_of_training_and_validation_in_two_panels():
    picture = drawn(Board(4, 2, rows(3)))
    blue, orange, green = (lines_of(picture, stroke=colour, stroke_width="2") for colour in ("#0072B2", "#D55E00", "#009E73"))
    assert [line.count(",") for line in blue] == [3, 3] and [line.count(",") for line in orange] == [3, 3]
    assert [line.count(",") for line in green] == [3]
    heights = [float(point.split(",")[1]) for point in blue[0].split()]
    assert heights == sorted(heights), "a falling loss falls on paper, where y counts downwards"
    without = drawn(Board(4, 2, rows(3, validation=False)))
    assert [line for line in lines_of(without, stroke="#D55E00") if line] == []


def test_an_earlier_run_is_dashed_and_grey_and_in_the_legend():
    words = "".join(drawn(Board(4, 2, rows(1), rows(6), "quick & <old>")).itertext())
    assert "quick & <old>, same markers" in words and "validation sequences" in words
    dashed = lines_of(drawn(Board(4, 2, rows(1), rows(6), "old")), stroke="#5A5A5A")
    assert [line.count(",") for line in dashed] == [6] * 5
    xs = [float(point.strip("ML").split(",")[0]) for point in dashed[0].split()]
    assert max(xs) < 318, "its six epochs have room, though this run has four"
    assert "same markers" not in "".join(drawn(Board(4, 2, rows(1))).itertext())


def test_the_trace_of_an_epoch_grows_begins_anew_and_stays_short():
    board = Board(4, 2)
    for step in range(1, 11):
        board.add(a_moment(1, step, loss=math.nan if step == 4 else 0.5))
    trace = lines_of(drawn(board), stroke_width="1.2")
    assert [line.count(",") for line in trace] == [9, 10], "a loss that is no number is left out"
    board.finish_epoch(rows(1))
    board.add(a_moment(2, 1))
    assert len(board.trace) == 1
    for _ in range(1000):
        board.add(a_moment(2, 5))
    assert len(board.trace) <= 200 and len(board.html()) < 15_000


def test_a_long_training_stays_small_and_an_exploding_loss_leaves_the_rest_legible():
    history = rows(300)
    history[100] |= {"validation_loss": 1e6}
    board = Board(300, 2, history, rows(300), "old")
    assert len(board.html()) < 60_000
    drawn(board)
    scale = [float(text) for text in drawn(board).itertext() if text.replace(".", "").isdigit()]
    assert 2 <= max(value for value in scale if value < 50) <= 3 * math.log(2) + 1


def test_drawing_needs_neither_matplotlib_nor_tensorflow():
    code = "import sys, dn3dlib.show.live; sys.exit(bool({'matplotlib', 'tensorflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# --- without a page --------------------------------------------------------------------------------------------------


def test_without_a_page_it_prints_a_line_for_each_epoch(capsys):
    board = LiveBoard()
    board.start(RUN, [], None)
    for epoch in (1, 2):
        for step in range(1, 11):
            board.moment(a_moment(epoch, step))
        board.epoch(rows(epoch, validation=epoch == 1))
    board.end("stopped")
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1: loss 2.000, clip accuracy 0.50; validation loss 0.500, sequence accuracy 0.50",
        "epoch 2: loss 1.000, clip accuracy 0.50",
    ]


def test_rows_that_are_no_history_are_refused():
    for rows_ in (3, [{"epoch": 1}], ["epoch"], "epoch"):
        with pytest.raises(ConfigError, match="LiveBoard.against=….*the history of a run"):
            LiveBoard(rows_)


# --- on a page, imagined ---------------------------------------------------------------------------------------------


@pytest.fixture
def page(monkeypatch):
    """A page without a kernel: the texts that it was sent, and its clock."""
    sent, clock = [], SimpleNamespace(now=0.0)

    def display(shown, **_):
        place = SimpleNamespace(update=lambda new, **_: sent.append(new["text/html"]) if isinstance(new, dict) else None)
        place.update(shown)
        return place

    monkeypatch.setattr(live, "display", display)
    monkeypatch.setattr(live, "on_a_page", lambda: True)
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return SimpleNamespace(sent=sent, clock=clock)


def test_it_is_redrawn_twice_a_second_at_most(page):
    board = LiveBoard()
    board.start(RUN, [], threading.Event())
    before = len(page.sent)
    for number in range(1, 101):  # ten seconds
        page.clock.now += 0.1
        board.moment(a_moment(1, min(number, 10)))
        board.epoch(rows(1))
    assert 15 <= len(page.sent) - before <= 20
    board.end("finished")
    assert "<b>Finished</b>" in page.sent[-1]


def test_the_button_sets_the_flag_and_board_and_button_say_so(page):
    board, stop = LiveBoard(), threading.Event()
    board.start(RUN, [], stop)
    board._button.click()
    assert stop.is_set() and board._button.disabled and "Stopping after this step" in board._button.description
    page.clock.now += 1
    board.moment(a_moment(1, 2))
    assert "<b>Stopping after this step…</b>" in page.sent[-1]
    board.end("stopped")
    assert board._button.comm is None


# --- in a kernel -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def training(cell, prepared, trained, tmp_path_factory):
    """The kernel's page, in which `go(name, epochs)` trains under a board; and the folder of its runs."""
    folder = f"{tmp_path_factory.mktemp('live')}/"
    cell(TRAIN.format(prepared=str(prepared), trained=str(trained), folder=folder))
    return SimpleNamespace(cell=cell, folder=folder)


def boards(cell) -> list[list[str]]:
    """The texts of each place that showed a board, in order."""
    places = [[data["text/html"] for data in shown if "text/html" in data] for shown in cell.shown.values()]
    return [texts for texts in places if any("<svg" in text for text in texts)]


def stop_button(cell) -> str:
    """The id of the button that the cell opened; "" where there is none yet."""
    return next((name for name, state in cell.opened.items() if state.get("description") == "■ Stop"), "")


def test_as_under_papermill_lines_and_one_picture(training):
    printed = training.cell("history = go('plain', 2)")
    assert printed.count("epoch 1: loss") == 1 and printed.count("epoch 2: loss") == 1
    ((last,),) = boards(training.cell)
    assert "Finished" in last and "an &lt;earlier&gt; run" in last and not training.cell.opened


def test_on_a_page_one_board_grows_and_stays_as_plain_html(training):
    printed = training.cell("history = go('page', 3)", "one")
    assert "epoch 1: loss" not in printed
    (texts,) = boards(training.cell)
    assert len(texts) >= 3 and "<b>Finished</b>" in texts[-1] and "epoch 3: loss" in texts[-1]
    kept = [shown[-1] for shown in training.cell.shown.values()]
    assert not [data for data in kept if "application/vnd.jupyter.widget-view+json" in data], "no widget stays in the saved notebook"


@pytest.mark.parametrize("way", ["button", "toolbar"])
def test_a_stop_ends_the_training_and_the_next_cell_has_the_history(training, way):
    pressed = []

    def stop_when_it_trains():
        if pressed or not any("Epoch 2" in text for texts in boards(training.cell) for text in texts):
            return
        pressed.append(True)
        if way == "button":
            training.cell.press(stop_button(training.cell))
        else:
            training.cell.interrupt()

    printed = training.cell(f"history = go('{way}', 60)", "stop", stop_when_it_trains)
    assert pressed and "go on with --resume" in printed
    (texts,) = boards(training.cell)
    assert "<b>Stopped: what was learned is saved" in texts[-1]
    epochs = int(training.cell("print(len(history))", "next"))
    assert 1 <= epochs < 60 and len(Run.open(training.folder + way).history()) == epochs
    resumed = training.cell(f"print(len(resume({training.folder + way!r}, observers=(LiveBoard(),))))", "more", stop_at_once(training.cell))
    assert int(resumed.split()[-1]) >= epochs


def stop_at_once(cell):
    """Presses the button as soon as there is one."""
    pressed = []

    def act():
        if not pressed and stop_button(cell):
            pressed.append(cell.press(stop_button(cell)))

    return act


def test_ten_runs_of_a_cell_leave_no_comm(training):
    before = int(training.cell(COMMS))
    for _ in range(10):
        training.cell("resume({!r}, device='cpu', observers=(LiveBoard(),))".format(training.folder + "page"), "again")
        assert len(boards(training.cell)) == 1 and stop_button(training.cell)
    assert int(training.cell(COMMS)) == before
