"""What a lesson needs besides pictures: parameters that are checked, exercises that answer back."""

import ast
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from dn3dlib.config import nearest
from dn3dlib.errors import ConfigError

UNTOUCHED = ...  # what stands in an exercise before the learner has answered


def check_parameters(namespace: dict) -> None:
    """Refuse a parameter that the notebook did not declare, or one of another type.

    papermill only warns about a mistyped `-p epoch 5`, and trains with the default.

    Args:
        namespace: the notebook's `globals()`; its `__annotations__` hold the declared names and types.

    Raises:
        ConfigError: with the nearest right name, or the right type.
    """
    declared = namespace["__annotations__"]
    for name in _injected_names(namespace.get("In", [])):
        if name not in declared:
            raise ConfigError(f"This notebook has no parameter {name!r}: {nearest(name, declared)}")
    for name, wanted in declared.items():
        value = namespace[name]
        right = isinstance(value, int | float) if wanted is float else isinstance(value, wanted)
        if not right or (isinstance(value, bool) and wanted is not bool):
            raise ConfigError(f"The parameter {name} is {value!r}, but must be of type {wanted.__name__}.")


def _injected_names(cells: list[str]) -> list[str]:
    """The names that papermill's cell, which begins with this comment, assigns."""
    names = []
    for cell in cells:
        if cell.startswith("# Parameters\n"):
            for statement in ast.parse(cell).body:
                if isinstance(statement, ast.Assign):
                    names += [target.id for target in statement.targets if isinstance(target, ast.Name)]
    return names


@dataclass
class Exercise:
    """A question whose answer is held against an oracle.

    `oracle` gives the right answer: a number, text, list or array. If `cases` is not empty the answer is a function, and
    each case is a tuple of arguments on which it must agree with `oracle`.
    """

    oracle: Callable
    hints: tuple[str, ...]
    cases: tuple[tuple, ...] = ()
    _given: int = field(default=0, init=False)  # hints so far

    def check(self, answer) -> bool:
        """Say whether the answer is right, and by how much it is not; True where it is exactly or nearly right."""
        if not self.cases:
            return _compare(answer, self.oracle())
        for arguments in self.cases:
            shown = ", ".join(map(str, arguments))
            try:
                given = answer(*arguments) if answer is not UNTOUCHED else UNTOUCHED
            except Exception as error:  # the learner's own function may fail in any way, and must hear of it
                print(f"not yet: for ({shown}) your function raises {type(error).__name__}: {error}")
                return False
            if not _compare(given, self.oracle(*arguments), f"for ({shown}): ", quiet=True):
                return False
        print("right: your function agrees with the library in every case.")
        return True

    def hint(self) -> None:
        """Print the next hint; the last one stays."""
        print(f"hint {self._given + 1} of {len(self.hints)}: {self.hints[self._given]}")
        self._given = min(self._given + 1, len(self.hints) - 1)


def _compare(answer, wanted, where: str = "", quiet: bool = False) -> bool:
    """Hold an answer against the oracle's and print what differs; `quiet` keeps a right one silent."""
    if answer is UNTOUCHED or answer is None:
        print("not yet: put your answer in the place of the three points.")
        return False
    if isinstance(wanted, str):
        return _verdict(answer == wanted, f"{where}your answer is {answer!r}.", quiet)
    try:
        answer, wanted = np.asarray(answer, float), np.asarray(wanted, float)
    except (TypeError, ValueError):
        return _verdict(False, f"{where}the answer is made of numbers, yours is {type(answer).__name__}.", quiet)
    if answer.shape != wanted.shape:
        return _verdict(False, f"{where}your answer has shape {answer.shape}, the right one has {wanted.shape}.", quiet)
    largest = float(np.max(np.abs(answer - wanted), initial=0))
    if largest == 0 or np.allclose(answer, wanted, rtol=1e-6):
        return _verdict(True, "exactly." if largest == 0 else f"up to rounding, the largest difference is {largest:.1e}.", quiet)
    if np.max(np.abs(answer - wanted)) == 1 and np.all(wanted == np.round(wanted)):
        return _verdict(False, f"{where}off by one.", quiet)
    return _verdict(False, f"{where}the largest difference is {largest:.4g}.", quiet)


def _verdict(right: bool, why: str, quiet: bool) -> bool:
    if not (right and quiet):
        print(f"{'right' if right else 'not yet'}: {why}")
    return right
