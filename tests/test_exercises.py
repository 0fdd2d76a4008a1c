"""What an exercise says to each kind of answer, and that the exercises of every notebook know right from wrong."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from dn3dlib import show
from dn3dlib.show.answers import compare
from dn3dlib.show.exercises_01 import small_clip
from dn3dlib.show.lesson import Exercise

MODULES = sorted(path.stem for path in Path(show.__path__[0]).glob("exercises_[0-9]*.py"))
EXERCISES = {f"{name[-2:]}-{key}": exercise for name in MODULES for key, exercise in import_module(f"dn3dlib.show.{name}").EXERCISES.items()}
MISTAKES = [(name, wrong, sentence) for name, exercise in EXERCISES.items() for wrong, sentence in exercise.mistakes]
GRID = np.arange(12.0).reshape(3, 4) ** 2 + 0.5
SQUARE = np.array([[0.5, 2.25], [7.5, 1.125]])


def nothing(numbers):
    sum(numbers)


# Each kind of answer: the answer, the right one, and a part of the sentence that no other kind gets.
RIGHT = {
    "the same number": (5, 5, "exactly."),
    "the same array": (GRID, GRID.copy(), "exactly."),
    "a list for an array": (GRID.tolist(), GRID, "exactly."),
    "a NumPy number": (np.int64(5), 5, "exactly."),
    "float32": (GRID.astype("float32") / 3, GRID / 3, "up to rounding, the largest difference is "),
    "added in another order": (0.1 + 0.2, 0.3, "up to rounding"),
    "a whole number as a float": (46.0, 46, "exactly."),
    "a text": ("boxing", "boxing", "exactly."),
    "texts": (("a", "b"), ["a", "b"], "exactly."),
    "a truth value": (np.bool_(True), True, "exactly."),
}
WRONG = {
    "untouched": (..., 5, "put your answer in the place of the three points."),
    "None": (nothing([1]), 5, "`return` is missing"),
    "a function": (nothing, 5, "the answer is a function: call it"),
    "a number as a text": ("5", 5, "your answer is the text '5'"),
    "texts for numbers": (["1", "2"], [1, 2], "your answer holds texts"),
    "rows of different lengths": ([[1, 2], [3]], GRID, "the rows of your answer differ in length"),
    "a dict": ({"a": 1}, 5, "yours holds something else: dict"),
    "None in a list": ([1, None], [1, 2], "yours holds something else"),
    "not a text": (5, "boxing", "yours is of type int"),
    "another text": ("jogging", "boxing", "'jogging', which is another one"),
    "capital letters": ("Boxing ", "boxing", "blanks or capital letters"),
    "one text for several": ("a", ["a", "b"], "a list of texts"),
    "numbers for texts": ([1, 2], ["a", "b"], "a list of texts"),
    "too few texts": (["a"], ["a", "b"], "your list has 1 texts, the right one has 2"),
    "texts reversed": (["b", "c", "a"], ["a", "c", "b"], "the right texts in reversed order"),
    "texts in another order": (["b", "a", "c"], ["a", "b", "c"], "the right texts in another order"),
    "other texts": (["a", "x", "y"], ["a", "b", "c"], "1 of 3 texts are right"),
    "no truth value": (1, True, "the answer is True or False"),
    "the other truth value": (False, True, "False is wrong here"),
    "an array for a number": (GRID, 5, "one single number is wanted"),
    "a number for an array": (5, GRID, "yours is one single number"),
    "no batch axis": (GRID, GRID[np.newaxis], "the first axis, that of the batch, is missing"),
    "a batch axis too many": (GRID[np.newaxis], GRID, "a batch axis too many"),
    "an axis of length 1": (GRID[:, np.newaxis], GRID, "an axis of length 1"),
    "transposed, not square": (GRID.T, GRID, "the same axes in another order"),
    "transposed, square": (SQUARE.T, SQUARE, "rows and columns are exchanged"),
    "an axis too few": (GRID.ravel(), GRID, "1 axis where 2 are wanted"),
    "one row too many": (np.vstack([GRID, GRID[:1]]), GRID, "they differ in axis 0, one too many"),
    "one column too few": (GRID[:, 1:], GRID, "they differ in axis 1, one too few"),
    "another length": (GRID[:, ::2], GRID, "they differ in axis 1."),
    "nan": (GRID * np.nan, GRID, "nan or inf"),
    "off by one": (4, 5, "off by one: too small"),
    "off by one, a large number": (1_438_375, 1_438_374, "off by one: too large"),
    "off by one in some places": ([1, 3, 4], [1, 2, 3], "off by one in 2 of 3 places: too large"),
    "off by one, both ways": ([2, 1, 9], [1, 2, 8], "off by one: too large or too small"),
    "rounded": (1.79, float(np.log(6)), "rounded to 2 places behind the point"),
    "cut off": (1.7, float(np.log(6)), "rounded to 1 place behind the point"),
    "whole": (2, 1.75, "rounded to a whole number"),
    "twice": (10, 5, "exactly twice the right answer"),
    "a share in per cent": (62.5, 0.625, "exactly a hundred times"),
    "not divided by 255": (GRID * 255, GRID, "exactly 255 times"),
    "another factor": (GRID * 1.7, GRID, "every number is 1.7 times the right one"),
    "the sign": (-GRID, GRID, "the sign is wrong"),
    "a shift": (GRID + 3, GRID, "every number is 3 too large"),
    "reversed": (GRID[::-1], GRID, "reversed order along axis 0"),
    "mirrored": (GRID[:, ::-1], GRID, "reversed order along axis 1"),
    "another order": (np.roll(GRID, 1), GRID, "the right numbers, in another order"),
    "normalised differently": (GRID * 1.7 + 3, GRID, "only in a scale and a shift"),
    "little": (GRID.max() * 0.001 * np.cos(GRID) + GRID, GRID, "which is little, but more than rounding"),
    "partly right": ([1.5, 2.5, 99.0], [1.5, 2.5, 7.25], "2 of 3 numbers are right; the largest difference is 91.75."),
    "far off": (123.25, 7.125, "the largest difference is 116.1."),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_right_answers(kind):
    answer, wanted, sentence = RIGHT[kind]
    right, why = compare(answer, wanted)
    assert right is True or right is np.True_
    assert why.startswith(sentence)


@pytest.mark.parametrize("kind", WRONG)
def test_each_kind_of_wrong_answer_has_its_sentence(kind):
    answer, wanted, sentence = WRONG[kind]
    right, why = compare(answer, wanted)
    assert not right and sentence in why and why.endswith((".", "?"))


def test_a_whole_number_must_be_the_same_however_large():
    for wanted in (5_056_518, np.array([5_056_518, 2])):
        assert not compare(np.asarray(wanted) + 1, wanted).right
        assert compare(wanted, wanted).right


# Functions as answers


def doubled(numbers, times=2):
    return [times * number for number in numbers]


TWICE = Exercise(doubled, ("a", "b"), cases=(([1, 2],), ([5],)), mistakes=((lambda n: doubled(n, 3), "you took it three times."),))


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (doubled, "right: your function agrees"),
        (..., "not yet: put your answer"),
        (lambda numbers: ..., "not yet: put your answer"),
        (None, "not yet: the answer is None"),
        (nothing, "not yet: for ([1, 2]): the answer is None"),
        ([2, 4], "not yet: the answer is a function: give its name"),
        (lambda: [2, 4], "not yet: for ([1, 2]) your function raises TypeError"),
        (lambda numbers: numbers["a"], "not yet: for ([1, 2]) your function raises TypeError"),
        (lambda numbers: [2, 4], "not yet: for ([5]): your answer has shape (2,), the right one has (1,)"),
        (lambda numbers: doubled(numbers, 3), "not yet: you took it three times."),
        (lambda numbers: doubled(numbers, 4), "not yet: for ([1, 2]): it is exactly twice the right answer"),
        (lambda numbers: [numbers.pop() for _ in numbers * 1][::-1], "not yet: for ([1, 2]): it is exactly half the right answer"),
    ],
)
def test_functions(answer, sentence, capsys):
    for _ in range(2):  # one that changes its argument changes no case
        assert TWICE.check(answer) is sentence.startswith("right")
        assert capsys.readouterr().out.startswith(sentence)


@pytest.mark.parametrize(("size", "told"), [(3, "for ([0.0, 1.0, 2.0]): "), (10, "for (an array (10,)): ")])
def test_the_numbers_of_a_small_array_are_told(size, told, capsys):
    Exercise(np.sum, (), cases=((np.arange(float(size)),),)).check(lambda numbers: -1)
    assert capsys.readouterr().out.startswith(f"not yet: {told}")


# The exercises of the notebooks


@pytest.mark.parametrize("name", EXERCISES)
def test_an_untouched_exercise_waits(name, capsys):
    assert EXERCISES[name].check(...) is False
    assert capsys.readouterr().out == "not yet: put your answer in the place of the three points.\n"
    if EXERCISES[name].cases:  # a function of which only the body is left to write
        assert EXERCISES[name].check(lambda *_: ...) is False
        assert capsys.readouterr().out.startswith("not yet: ")


@pytest.mark.parametrize(("name", "wrong", "sentence"), MISTAKES, ids=lambda value: value if isinstance(value, str) else "")
def test_each_mistake_hears_its_own_sentence(name, wrong, sentence, capsys):
    exercise = EXERCISES[name]
    assert exercise.check(wrong if exercise.cases else wrong()) is False
    assert capsys.readouterr().out == f"not yet: {sentence}\n"


@pytest.mark.parametrize("name", EXERCISES)
def test_hints_come_in_steps_and_the_last_stays(name, capsys):
    exercise = EXERCISES[name]
    for _ in range(len(exercise.hints) + 1):
        exercise.hint()
    lines = capsys.readouterr().out.splitlines()
    assert 2 <= len(set(lines)) == len(exercise.hints) and lines[-1] == lines[-2]


def last_clip(length, frames, stride):
    numbers = [max(0, length - (frames - 1) * stride - 1) + stride * i for i in range(frames)]
    return [number % length for number in numbers]


def channels_after_blocks(growth_rate, layers, blocks, compression):
    channels, after = 2 * growth_rate, []
    for _ in range(blocks):
        channels += layers * growth_rate
        after.append(channels)
        channels = int(channels * compression)
    return after


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("00-numbers_of_a_clip", 602_112),
        ("00-seconds_of_a_clip", 1.2),
        ("00-ranked", lambda p, c: [name for _, name in sorted(zip(p, c, strict=True), reverse=True)]),
        ("01-clips_of_a_sequence", 6),
        ("01-last_clip", last_clip),
        ("01-normalise_a_clip", (small_clip() - small_clip().mean()) / small_clip().std()),
        ("01-normalise_a_clip", ((small_clip() - small_clip().mean()) / small_clip().std()).astype("float32")),
        ("02-parameters_of_a_layer", 2 * 48 + 48 * 64 + 2 * 64 + 27 * 64 * 16),
        ("02-vote", lambda rows: np.argmax(np.mean(rows, axis=0))),
        ("02-channels_after_blocks", channels_after_blocks),
    ],
)
def test_answers_found_without_the_library_are_right(name, answer, capsys):
    assert EXERCISES[name].check(answer) is True
    assert capsys.readouterr().out.startswith("right: ")
