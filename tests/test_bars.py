"""Progress bars in a notebook: one output that stays, no widget, and what tqdm says."""

import xml.etree.ElementTree as ElementTree

import pytest

from dn3dlib import progress
from dn3dlib.show import bars
from dn3dlib.show.bars import HtmlBar

COMMS = "from IPython import get_ipython; print(len(get_ipython().kernel.comm_manager.comms))"


@pytest.fixture
def shown(monkeypatch):
    """What a page would show, state after state, each place with a number of its own."""
    states = []

    class Handle:
        def __init__(self, place):
            self.place = place

        def update(self, data, raw):
            states.append((self.place, data["text/html"]))

    def display(data, raw, display_id):
        place = len({place for place, _ in states})
        states.append((place, data["text/html"]))
        return Handle(place)

    monkeypatch.setattr(bars, "display", display)
    return states


def test_a_bar_is_one_place_that_ends_full(shown, capsys):
    assert list(HtmlBar(range(40), desc="pre<pare>", unit="video", mininterval=0)) == list(range(40))
    assert len(shown) > 10 and {place for place, _ in shown} == {0}
    first, last = (ElementTree.fromstring(text) for _, text in (shown[0], shown[-1]))
    assert (first[0].get("value"), last[0].get("value"), last[0].get("max")) == ("0", "40", "40")
    assert last[0].get("aria-label") == "pre<pare>"
    words = "".join(last.itertext())
    assert words.startswith("pre<pare>: 100%") and "40/40" in words and "video/s" in words
    assert capsys.readouterr() == ("", "")


def test_a_bar_that_breaks_off_stays_where_it_was(shown):
    with pytest.raises(KeyError), HtmlBar(total=10, mininterval=0) as bar:
        bar.update(3)
        raise KeyError
    assert 'value="3" max="10"' in shown[-1][1]


def test_without_a_total_it_counts(shown):
    with HtmlBar(desc="get", unit="B", unit_scale=True, mininterval=0) as bar:
        bar.update(2048)
    assert "<progress" not in shown[-1][1] and "2.05k" in shown[-1][1] and "B/s" in shown[-1][1]


def test_a_delayed_bar_is_not_shown_for_what_is_quick(shown, monkeypatch):
    list(HtmlBar(range(5), mininterval=0, delay=100))
    assert not shown
    with HtmlBar(total=2, mininterval=0, delay=100) as bar:
        bar.start_t -= 200
        bar.last_print_t -= 200
        bar.update()
    assert len(shown) >= 1 and 'value="1"' in shown[-1][1]


def test_a_disabled_bar_shows_nothing(shown):
    with HtmlBar(total=3, disable=True) as bar:
        bar.update(3)
    assert not shown


def test_without_a_kernel_bars_are_lines(capsys):
    with progress.progress_bar(total=2) as bar:
        bar.update(2)
    assert not isinstance(bar, HtmlBar) and "2/2" in capsys.readouterr().err


def test_in_a_kernel_ten_runs_leave_no_comm_and_one_output_each(cell):
    code = """
    import dn3dlib.show
    from dn3dlib.progress import progress_bar
    for _ in progress_bar(range(3), desc="work"):
        pass
    """
    before = int(cell(COMMS))
    for _ in range(10):
        assert cell(code, "one") == ""
        ((first, *_, last),) = cell.shown.values()
        assert 'value="0"' in first["text/html"] and 'value="3" max="3"' in last["text/html"]
    assert int(cell(COMMS)) == before and not cell.opened
