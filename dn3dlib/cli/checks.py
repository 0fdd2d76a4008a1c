"""What `dn3d train` does before a training: --check and --find-learning-rate."""

from dataclasses import asdict

from dn3dlib.cli.shell import show
from dn3dlib.errors import RunError


def check_training(data, configs: dict, device: str, as_json: bool) -> None:
    """Print the checks of a training; raises RunError where one fails."""
    from dn3dlib.train.checks import run_checks

    found = run_checks(data, configs["clip"], configs["model"], configs["train"], device=device)
    failed = [check for check in found if not check.passed]
    show(as_json, {"passed": not failed, "checks": [asdict(check) for check in found]}, lambda: _describe_checks(found))
    if failed:
        names = ", ".join(check.name for check in failed)
        raise RunError(f"{len(failed)} of {len(found)} checks of a training on {data.path} failed ({names}). {failed[0].sentence}")


def find_learning_rate(data, configs: dict, device: str, as_json: bool) -> None:
    """Print the losses of a range test, and the rate that it suggests."""
    from dn3dlib.train.rates import lr_range_test

    test = lr_range_test(data, configs["clip"], configs["model"], configs["train"], device=device)
    values = {name: value if isinstance(value, float) else value.tolist() for name, value in vars(test).items()}
    lines = [f"  {rate:10.3g} {loss:8.3f}" for rate, loss in zip(test.rates[::5], test.smoothed[::5], strict=True)]
    said = f"The loss was lowest at {test.lowest:.2g}; a tenth of it is suggested: --set train.learning_rate={test.suggested:.2g}"
    show(as_json, values, lambda: "\n".join(["learning rate, smoothed loss in nats:", *lines, said]))


def _describe_checks(checks: list) -> str:
    lines = []
    for check in checks:
        lines += [f"{'passed' if check.passed else 'FAILED':<7} {check.name}: {check.sentence}", f"        expected: {check.expected}"]
    return "\n".join(lines)
