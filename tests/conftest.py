"""What all tests share."""

import os
import shutil
from collections.abc import Callable

import pytest
from hypothesis import settings

# A machine that stands still for a moment makes no test fail.
settings.register_profile("bpfemu", deadline=None)
settings.load_profile("bpfemu")


@pytest.fixture(scope="session")
def outside() -> Callable[[str], str]:
    """The path of a program that is not ours, by name. Where it is not installed the test is skipped, in CI it fails."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            missing = f"{name} is not installed (Debian's package of that name)"
            if os.environ.get("CI"):
                pytest.fail(missing)
            pytest.skip(missing)
        return path

    return find
