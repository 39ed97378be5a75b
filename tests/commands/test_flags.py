"""Values that a shell completes, as its script asks for them."""

import os
import subprocess
import sys

import pytest

from oq.comparison.metrics import BUILT_IN
from oq.deployment.formats import FORMATS


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("oq verify --metric ", set(BUILT_IN)),
        ("oq quantize --metric ", set(BUILT_IN)),
        ("oq deploy --to ", set(FORMATS)),
        ("oq quantize --target d", {"dpu"}),
    ],
)
def test_completion_names_the_values(words: str, names: set[str]) -> None:
    at = str(len(words.split(" ")) - 1)
    asked = {"_OQ_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": at}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv = ['oq']; from oq.cli import main; main()"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert set(done.stdout.split()) == names
