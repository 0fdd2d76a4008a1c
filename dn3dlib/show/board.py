"""The picture of a training under way, as HTML with SVG, in plain Python: neither TensorFlow nor matplotlib works beside a training."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from dn3dlib.train.observer import Moment

# column of a history → its name, colour (Okabe and Ito), marker; dashes are for the earlier run alone
_STYLES = {
    "train": ("training clips", "#0072B2", "●"),
    "validation": ("validation clips", "#D55E00", "■"),
    "sequence": ("validation sequences", "#009E73", "▲"),
}
PANELS = {
    "loss in nats": {"train_loss": "train", "validation_loss": "validation"},
    "accuracy": {"train_clip_accuracy": "train", "validation_clip_accuracy": "validation", "validation_sequence_accuracy": "sequence"},
}
_GREY, _TEXT, _RULE = "#5A5A5A", "#222222", "#dddddd"  # on the board's own white: a dark page does no harm
_WIDTH, _HEIGHT = 760, 290  # of the picture; what follows is in its units
_LEFT, _TOP, _WIDE, _HIGH = 46, 26, 318, 176  # of the first panel's field
_MARGIN = 6  # inside a field: markers at its edge are whole
_MOST_MARKERS = 20  # of a curve
_MOST_TRACED = 200  # moments of one epoch


@dataclass
class Board:
    """What the picture shows. Nothing here is computed but places on paper."""

    epochs: int
    classes: int
    history: list[dict] = field(default_factory=list)  # rows of `runs.COLUMNS`
    against: Sequence[dict] = ()  # the earlier run's
    name: str = ""  # of the earlier run
    moment: Moment | None = None
    state: str = ""  # what is going on, in a few words without a full stop
    trace: list[tuple[float, float, float]] = field(default_factory=list)  # this epoch's moments: place, loss, accuracy

    def add(self, moment: Moment) -> None:
        """Go on with this epoch's trace."""
        self.moment = moment
        self.trace.append((moment.epoch - 1 + moment.step / moment.steps, moment.loss, moment.clip_accuracy))
        if len(self.trace) > _MOST_TRACED:
            del self.trace[1::2]

    def finish_epoch(self, history: list[dict]) -> None:
        """A point of the curves takes the place of the trace."""
        self.history = history
        self.trace.clear()

    def words(self) -> list[str]:
        """All figures, in sentences: how far it is, the last validation, and the earlier run then."""
        lines = [self.state]
        if self.moment:
            lines.append(moment_in_words(self.moment))
        if self.history:
            lines.append(row_in_words(self.history[-1]))
            lines += [f"{self.name}, {row_in_words(row)}" for row in self.against if row["epoch"] == self.history[-1]["epoch"]]
        return lines

    def html(self) -> str:
        """The card: words, then the two panels."""
        first, *others = (html.escape(line) for line in self.words())
        lines = "".join(f"<div>{line}</div>" for line in (f"<b>{first}</b>", *others))
        style = f"background:white;color:{_TEXT};padding:8px 12px;max-width:{_WIDTH}px;font-size:13px;font-variant-numeric:tabular-nums"
        return f'<div style="{style}">{lines}{self.svg()}</div>'

    def svg(self) -> str:
        """The two panels and their legend."""
        longest = max(self.epochs, len(self.against))
        guess = math.log(self.classes), 1 / self.classes
        tops = self._top_of_loss(guess[0]), 1.0
        panels = [
            self._panel(_Field(_LEFT + place * (_WIDTH // 2), longest, top), title, columns, guess[place], place + 1)
            for place, ((title, columns), top) in enumerate(zip(PANELS.items(), tops, strict=True))
        ]
        said = html.escape(". ".join(["Curves of loss and accuracy over epochs", *self.words()]), quote=True)
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%" role="img" aria-label="{said}"'
        return f'{head} font-family="sans-serif" font-size="12" fill="{_TEXT}">{"".join(panels)}{self._legend()}</svg>'

    def _top_of_loss(self, guess: float) -> float:
        """A round number above all losses; what lies above three times the guess is cut off, or the rest would be flat."""
        rows = [*self.history, *self.against]
        losses = [row[column] for row in rows for column in PANELS["loss in nats"]] + [loss for _, loss, _ in self.trace]
        known = [loss for loss in losses if loss is not None and math.isfinite(loss)]
        return math.ceil(2 * min(max([*known, guess]), 3 * guess) + 0.2) / 2

    def _panel(self, place: "_Field", title: str, columns: dict[str, str], guess: float, traced: int) -> str:
        level = place.y(guess)
        inside = [f'<line x1="0" x2="{_WIDE}" y1="{level:.1f}" y2="{level:.1f}" stroke="{_GREY}" stroke-dasharray="1 4"/>']
        for column, style in columns.items():
            inside.append(place.curve(_points(self.history, column), *_STYLES[style][1:]))
        for column, style in columns.items():  # above the others, and thinner: seen even where both are the same
            inside.append(place.curve(_points(self.against, column), _GREY, _STYLES[style][2], dashed=True))
        running = place.path([(row[0], row[traced]) for row in self.trace])
        inside.append(f'<path d="{running}" fill="none" stroke="{_STYLES["train"][1]}" stroke-width="1.2"/>')
        return place.around(title, "".join(inside))

    def _legend(self) -> str:
        names = [name for name, _, _ in _STYLES.values()]
        names[0] += " (thin: this epoch so far)"
        above, below, across = _HEIGHT - 24, _HEIGHT - 6, (_LEFT, 330, 500)
        parts = [(x, above, marker, colour, words) for x, words, (_, colour, marker) in zip(across, names, _STYLES.values(), strict=True)]
        if self.against:
            parts.append((across[0], below, "┄ ┄", _GREY, f"{self.name}, same markers"))
        parts.append((across[2], below, "·····", _GREY, "guessing"))
        line = '<text x="{}" y="{}"><tspan fill="{}">{}</tspan> {}</text>'  # words in colours would be too pale
        return "".join(line.format(x, y, colour, sign, html.escape(words)) for x, y, sign, colour, words in parts)


@dataclass(frozen=True)
class _Field:
    """Where values lie on paper: a panel's field is a picture of its own, which cuts off what lies outside."""

    left: float
    epochs: int  # across
    top: float  # the value at its upper edge; the lower one is 0

    def x(self, epoch: float) -> float:
        return _MARGIN + (_WIDE - 2 * _MARGIN) * epoch / self.epochs

    def y(self, value: float) -> float:
        return _HIGH - _MARGIN - (_HIGH - 2 * _MARGIN) * value / self.top

    def path(self, points: list[tuple[float, float]]) -> str:
        """Through the points that are numbers."""
        known = [(x, y) for x, y in points if math.isfinite(y)]
        return " ".join(f"{'L' if place else 'M'}{self.x(x):.1f},{self.y(y):.1f}" for place, (x, y) in enumerate(known))

    def curve(self, points: list[tuple[float, float]], colour: str, marker: str, dashed: bool = False) -> str:
        line = f'<path d="{self.path(points)}" fill="none" stroke="{colour}" stroke-width="{1 if dashed else 2}"'
        every = math.ceil(len(points) / _MOST_MARKERS) or 1
        known = [(x, y) for x, y in points[::-1][::every] if math.isfinite(y)]  # the last one is among them
        signs = [_sign(marker, self.x(x), self.y(y), 2.5 if dashed else 4) for x, y in known]
        return line + (' stroke-dasharray="5 4"/>' if dashed else "/>") + f'<path d="{" ".join(signs)}" fill="{colour}"/>'

    def around(self, title: str, inside: str) -> str:
        """The field in its frame, with a title and what the places mean."""
        parts = [f'<text x="{self.left}" y="{_TOP - 9}" font-weight="bold">{title}</text>']
        parts.append(f'<rect x="{self.left}" y="{_TOP}" width="{_WIDE}" height="{_HIGH}" fill="none" stroke="{_RULE}"/>')
        for value in _ticks(self.top):
            parts.append(f'<text x="{self.left - 6}" y="{_TOP + self.y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
        for epoch in _ticks(self.epochs, whole=True):
            parts.append(f'<text x="{self.left + self.x(epoch):.1f}" y="{_TOP + _HIGH + 16}" text-anchor="middle">{epoch:g}</text>')
        parts.append(f'<text x="{self.left + _WIDE}" y="{_TOP + _HIGH + 32}" text-anchor="end">epoch</text>')
        frame = f'<svg x="{self.left}" y="{_TOP}" width="{_WIDE}" height="{_HIGH}" overflow="hidden">'
        return "".join(parts) + frame + inside + "</svg>"


def moment_in_words(moment: Moment) -> str:
    """One line: how far, how good, how fast, how long still."""
    where = "validating" if moment.validating else f"step {moment.step} of {moment.steps}"
    parts = [f"Epoch {moment.epoch} of {moment.epochs}", where, f"loss {moment.loss:.3f}", f"clip accuracy {moment.clip_accuracy:.2f}"]
    parts.append(f"learning rate {moment.learning_rate:.3g}")
    if moment.clips_per_second:
        parts.append(f"{moment.clips_per_second:.3g} clips/s")
    if moment.seconds_left is not None:
        parts.append(f"{_duration(moment.seconds_left)} left")
    return " · ".join(parts)


def row_in_words(row: dict) -> str:
    """One finished epoch, a row of `runs.COLUMNS`; validation is left out where there is none."""
    text = f"epoch {row['epoch']}: loss {row['train_loss']:.3f}, clip accuracy {row['train_clip_accuracy']:.2f}"
    if row["validation_loss"] is None:
        return text
    return f"{text}; validation loss {row['validation_loss']:.3f}, sequence accuracy {row['validation_sequence_accuracy']:.2f}"


def _points(rows: Sequence[dict], column: str) -> list[tuple[float, float]]:
    return [(row["epoch"], row[column]) for row in rows if row[column] is not None]


def _sign(marker: str, x: float, y: float, half: float) -> str:
    """A marker as a path."""
    if marker == "●":
        return f"M{x - half:.1f},{y:.1f}a{half},{half} 0 1,0 {2 * half},0a{half},{half} 0 1,0 {-2 * half},0"
    if marker == "■":
        return f"M{x - half:.1f},{y - half:.1f}h{2 * half}v{2 * half}h{-2 * half}z"
    return f"M{x:.1f},{y - half:.1f}l{half},{2 * half}h{-2 * half}z"


def _ticks(top: float, whole: bool = False) -> list[float]:
    """Round numbers from 0 to `top`, six at most."""
    steps = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if whole else (0.2, 0.5, 1, 2, 5, 10)
    step = next((step for step in steps if top / step <= 6), top / 6)
    return [step * number for number in range(int(top / step + 1e-9) + 1)]


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60:02} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02} min"
