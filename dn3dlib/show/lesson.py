"""What a lesson needs besides pictures: parameters that are checked, exercises that answer back."""

import ast
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from dn3dlib.config import nearest
from dn3dlib.errors import ConfigError
from dn3dlib.show.answers import UNTOUCHED, Verdict, compare

_SHOWN = 9  # numbers of an array that are told one by one


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

    Attributes:
        oracle: gives the right answer: a number, text, list or array.
        hints: from a first thought to nearly all; shown one by one.
        cases: if not empty, the answer is a function, and each case is a tuple of arguments on which it must agree with `oracle`.
        mistakes: (wrong oracle, sentence): an answer that agrees with a wrong oracle in every case hears its sentence.
    """

    oracle: Callable
    hints: tuple[str, ...]
    cases: tuple[tuple, ...] = ()
    mistakes: tuple[tuple[Callable, str], ...] = ()
    _given: int = field(default=0, init=False)  # hints so far

    def check(self, answer) -> bool:
        """Say whether the answer is right, and what differs if it is not; True where it is right, be it up to rounding."""
        verdict = self._judge(answer)
        print(f"{'right' if verdict.right else 'not yet'}: {verdict.why}")
        return verdict.right

    def hint(self) -> None:
        """Print the next hint; the last one stays."""
        print(f"hint {self._given + 1} of {len(self.hints)}: {self.hints[self._given]}")
        self._given = min(self._given + 1, len(self.hints) - 1)

    def _judge(self, answer) -> Verdict:
        if answer is UNTOUCHED or answer is None:
            return compare(answer, None)
        if self.cases and not callable(answer):
            return Verdict(False, "the answer is a function: give its name, without brackets behind it.")
        verdict = self._held_against(self.oracle, answer)
        if not verdict.right:
            for wrong_oracle, sentence in self.mistakes:
                if self._held_against(wrong_oracle, answer).right:
                    return Verdict(False, sentence)
        return verdict

    def _held_against(self, oracle: Callable, answer) -> Verdict:
        """The verdict on the first case that differs, or that all agree."""
        if not self.cases:
            return compare(answer, oracle())
        for arguments in self.cases:
            where = f"for ({', '.join(map(_shown, arguments))})"
            try:
                given = answer(*map(_copied, arguments))
            except Exception as error:  # the learner's own function may fail in any way, and must hear of it
                return Verdict(False, f"{where} your function raises {type(error).__name__}: {error}")
            verdict = compare(given, None if given is UNTOUCHED else oracle(*arguments))
            if not verdict.right:
                return verdict if given is UNTOUCHED else Verdict(False, f"{where}: {verdict.why}")
        return Verdict(True, "your function agrees with the library in every case.")


def _shown(argument) -> str:
    if not isinstance(argument, np.ndarray):
        return str(argument)
    return str(argument.tolist()) if argument.size <= _SHOWN else f"an array {argument.shape}"


def _copied(argument):
    """A learner's function that changes its arguments must not change the case."""
    return argument.copy() if isinstance(argument, list | np.ndarray) else argument
