"""What several test files share: where the real data and the reference values lie."""

import os
from pathlib import Path

import pytest


def _shared(name: str) -> Path:
    root = Path(os.environ.get("DN3D_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    if not (root / name).is_dir():
        pytest.skip(f"not run: this test needs the folder {name} in {root} (or where DN3D_SHARED points)")
    return root / name


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real videos, `shared/data`; without it the test is skipped."""
    return _shared("data")


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """The folder of reference values, `shared/reference`; without it the test is skipped."""
    return _shared("reference")
