"""What is said about a learner's answer: exactly right, right up to rounding, or wrong in a way that has a name.

The sentences tell in which way an answer differs from the right one, as a teacher would who looks at both.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

UNTOUCHED = ...  # what stands in an exercise before the learner has answered
ROUNDING = 1e-5  # of the largest number: float32 keeps about seven digits, and a sum of many loses some
# Where a single number is this many times the right one, somebody forgot to multiply or to divide.
FACTORS = {2: "twice", 3: "three times", 4: "four times", 8: "eight times", 10: "ten times", 25: "25 times", 60: "60 times"}
FACTORS |= {100: "a hundred times", 255: "255 times", 1000: "a thousand times", 1 / 2: "half", 1 / 3: "a third", 1 / 4: "a quarter"}
FACTORS |= {1 / 8: "an eighth", 1 / 10: "a tenth", 1 / 25: "a 25th part", 1 / 60: "a 60th part", 1 / 100: "a hundredth", 1 / 255: "a 255th part"}


class Verdict(NamedTuple):
    """Whether an answer is right, and the sentence that says so or says what differs."""

    right: bool
    why: str


def compare(answer, wanted) -> Verdict:
    """Hold an answer against the right one.

    Args:
        answer: whatever the learner gave.
        wanted: a number, a truth value, a text, a list of texts, or an array of numbers.

    Returns:
        Right if the answer is the same, or a number that differs by no more than float32 rounds; a whole number must be the same.
    """
    if answer is UNTOUCHED:
        return Verdict(False, "put your answer in the place of the three points.")
    if answer is None:
        return Verdict(False, "the answer is None: a function gives that when it prints its result, or when `return` is missing.")
    if callable(answer):
        return Verdict(False, "the answer is a function: call it, with brackets, and give what it returns.")
    if isinstance(wanted, bool | np.bool_):
        return _compare_truths(answer, bool(wanted))
    if np.asarray(wanted).dtype.kind == "U":
        return _compare_texts(answer, wanted)
    return _compare_numbers(answer, wanted)


def _compare_truths(answer, wanted: bool) -> Verdict:
    if not isinstance(answer, bool | np.bool_):
        return Verdict(False, f"the answer is True or False, yours is {answer!r}.")
    return Verdict(answer == wanted, "exactly." if answer == wanted else f"{answer} is wrong here.")


def _compare_texts(answer, wanted) -> Verdict:
    if isinstance(wanted, str):
        if not isinstance(answer, str):
            return Verdict(False, f"the answer is a text in quotation marks, yours is of type {type(answer).__name__}.")
        if answer != wanted and answer.strip().lower() == wanted.lower():
            return Verdict(False, "right but for blanks or capital letters: write it as it is printed above.")
        return Verdict(answer == wanted, "exactly." if answer == wanted else f"your answer is {answer!r}, which is another one.")
    if isinstance(answer, str) or np.asarray(answer, object).ndim != 1 or not all(isinstance(text, str) for text in answer):
        return Verdict(False, "the answer is a list of texts in quotation marks, as ['one', 'two'].")
    given, right = list(answer), list(wanted)
    if len(given) != len(right):
        return Verdict(False, f"your list has {len(given)} texts, the right one has {len(right)}.")
    if given == right:
        return Verdict(True, "exactly.")
    if given == right[::-1]:
        return Verdict(False, "the right texts in reversed order: turn the list round.")
    if sorted(given) == sorted(right):
        return Verdict(False, "the right texts in another order.")
    return Verdict(False, f"{sum(map(str.__eq__, given, right))} of {len(right)} texts are right.")


def _compare_numbers(answer, wanted) -> Verdict:
    if problem := _no_numbers(answer):
        return Verdict(False, problem)
    whole = np.asarray(wanted).dtype.kind in "iub"
    answer, wanted = np.asarray(answer, float), np.asarray(wanted, float)
    if answer.shape != wanted.shape:
        return Verdict(False, _wrong_shape(answer, wanted))
    if not np.all(np.isfinite(answer)) and np.all(np.isfinite(wanted)):
        return Verdict(False, "your answer holds nan or inf: somewhere something is divided by 0, or the logarithm of 0 is taken.")
    largest = float(np.max(np.abs(answer - wanted), initial=0))
    if largest == 0:
        return Verdict(True, "exactly.")
    if _near(answer, wanted) and not (whole and largest > 1e-6):
        return Verdict(True, f"up to rounding, the largest difference is {largest:.1e}.")
    return Verdict(False, next(_names_of_the_difference(answer, wanted, whole)))


def _no_numbers(answer) -> str:
    """What to say about an answer that is not made of numbers; "" if it is."""
    if isinstance(answer, str):
        return f"your answer is the text {answer!r}: give the number itself, without quotation marks."
    try:
        found = np.asarray(answer)
    except ValueError:  # a list whose rows differ in length
        return "the rows of your answer differ in length: an array has as many numbers in each."
    if found.dtype.kind in "US" or any(isinstance(entry, str) for entry in found.flat):
        return "your answer holds texts: give numbers, without quotation marks."
    if found.dtype.kind not in "iufb":
        strange = found.flat[0] if found.ndim else answer
        return f"the answer is made of numbers, yours holds something else: {type(strange).__name__}."
    return ""


def _wrong_shape(answer: np.ndarray, wanted: np.ndarray) -> str:
    """In which way a shape is wrong; both shapes are said."""
    shapes = f"your answer has shape {answer.shape}, the right one has {wanted.shape}"
    if not wanted.ndim:
        return f"one single number is wanted, but your answer has shape {answer.shape}."
    if not answer.ndim:
        return f"{shapes}: yours is one single number."
    if (1, *answer.shape) == wanted.shape:
        return f"{shapes}: the first axis, that of the batch, is missing; array[np.newaxis] adds it."
    if answer.shape == (1, *wanted.shape):
        return f"{shapes}: there is a batch axis too many in front; array[0] takes it away."
    if answer.size == wanted.size and answer.ndim != wanted.ndim and _without_ones(answer) == _without_ones(wanted):
        return f"{shapes}: they differ in an axis of length 1; keepdims=True keeps one, array.squeeze() removes them."
    if sorted(answer.shape) == sorted(wanted.shape):
        return f"{shapes}: the same axes in another order; array.transpose changes it."
    if answer.ndim != wanted.ndim:
        return f"{shapes}: {answer.ndim} {'axis' if answer.ndim == 1 else 'axes'} where {wanted.ndim} are wanted."
    axes = [axis for axis in range(wanted.ndim) if answer.shape[axis] != wanted.shape[axis]]
    gaps = {answer.shape[axis] - wanted.shape[axis] for axis in axes}
    by_one = {1: ", one too many", -1: ", one too few"}.get(gaps.pop(), "") if len(gaps) == 1 else ""
    return f"{shapes}: they differ in {'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))}{by_one}."


def _names_of_the_difference(answer: np.ndarray, wanted: np.ndarray, whole: bool) -> Iterator[str]:
    """What can be said about numbers of the right shape, the most telling first; the last one always holds."""
    difference = answer - wanted
    places = answer.size
    yield from _other_orders(answer, wanted, np.array_equal if whole else _near)
    if whole and np.max(np.abs(difference)) == 1:
        yield _off_by_one(difference)
    if _near(answer, -wanted):
        yield "the sign is wrong, all else is right."
    if digits := _rounded_to(answer, wanted):
        yield f"nearly: it is the right answer rounded to {digits}. Let Python compute it, and do not round."
    if factor := _factor(answer, wanted):
        yield factor
    if places > 2 and np.ptp(difference) <= ROUNDING * max(np.abs(wanted).max(), np.abs(difference).max()):
        yield f"every number is {abs(difference.flat[0]):.4g} too {'large' if difference.flat[0] > 0 else 'small'}."
    if places > 3 and _only_scaled(answer, wanted):
        yield "it differs only in a scale and a shift: you normalise with another mean or another deviation."
    close = np.isclose(answer, wanted, rtol=ROUNDING, atol=ROUNDING * np.abs(wanted).max(initial=0))
    where = f"{close.sum()} of {places} numbers are right; " if places > 1 and close.any() else ""
    nearly = np.abs(difference).max() <= 0.01 * np.abs(wanted).max()
    largest = f"the largest difference is {np.abs(difference).max():.4g}"
    yield where + largest + (", which is little, but more than rounding." if nearly else ".")


def _other_orders(answer: np.ndarray, wanted: np.ndarray, same: Callable) -> Iterator[str]:
    """What to say where the right numbers stand in other places."""
    for axis in range(answer.ndim):
        if same(answer, np.flip(wanted, axis)):
            yield f"the right numbers in reversed order along axis {axis}."
    if answer.ndim == 2 and answer.shape[0] == answer.shape[1] and same(answer, wanted.T):
        yield "rows and columns are exchanged: array.T turns them round."
    if answer.size > 1 and same(np.sort(answer, axis=None), np.sort(wanted, axis=None)):
        yield "the right numbers, in another order."


def _near(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=ROUNDING, atol=ROUNDING * np.abs(other).max(initial=0))


def _without_ones(array: np.ndarray) -> list[int]:
    return [length for length in array.shape if length != 1]


def _off_by_one(difference: np.ndarray) -> str:
    wrong = difference[difference != 0]
    where = "" if wrong.size == difference.size else f" in {wrong.size} of {difference.size} places"
    way = "too large" if np.all(wrong > 0) else "too small" if np.all(wrong < 0) else "too large or too small"
    return f"off by one{where}: {way}. Look again at the ends, which belong to it or not, and at what is rounded."


def _rounded_to(answer: np.ndarray, wanted: np.ndarray) -> str:
    """To how many places the right answer has been rounded or cut off; "" if it has not."""
    for places in range(5):
        for round_off in (np.round, lambda numbers, places: np.trunc(numbers * 10**places) / 10**places):
            if np.any(answer) and np.allclose(answer, round_off(wanted, places), rtol=0, atol=1e-9):
                return "a whole number" if not places else f"{places} place{'s'[: places > 1]} behind the point"
    return ""


def _factor(answer: np.ndarray, wanted: np.ndarray) -> str:
    """How many times the right answer the given one is, if that is one number for all places; else ""."""
    if not np.any(wanted) or not np.any(answer):
        return ""
    factor = float(np.vdot(answer, wanted) / np.vdot(wanted, wanted))
    if not _near(answer, factor * wanted):
        return ""
    for known, name in FACTORS.items():
        if abs(factor / known - 1) < ROUNDING:
            return f"it is exactly {name} the right answer: is there a factor or a division missing, or one too many?"
    return f"every number is {factor:.4g} times the right one." if answer.size > 2 else ""


def _only_scaled(answer: np.ndarray, wanted: np.ndarray) -> bool:
    if not np.ptp(answer) or not np.ptp(wanted):
        return False
    scale, shift = np.polyfit(wanted.ravel(), answer.ravel(), 1)
    return scale > 0 and _near(answer, scale * wanted + shift)
