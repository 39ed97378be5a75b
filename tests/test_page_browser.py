"""The page in a real browser, where one is installed: it fits, and it follows light and dark."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from oq.numerics.values import Array
from oq.page.document import write_page
from tests.test_page import NASTY, network, run

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    path = folder / "report.html"
    text = write_page(run(network(f"_a_rather_long_name/of_a/layer{NASTY}"), folder))
    # every layer open: nothing that can be shown may be too wide
    opened = text.replace('<details class="layer">', '<details class="layer" open>')
    path.write_text(opened, encoding="utf-8")
    return path


def browse(page: Path, *flags: str) -> str:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    fixed = ["--headless", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1"]
    own = f"--user-data-dir={page.parent / 'profile'}"
    done = subprocess.run(
        [str(BROWSER), *fixed, *sandbox, own, *flags, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def shot(page: Path, width: int, dark: bool) -> Array:
    """The page as pixels, axes (row, column, colour)."""
    image = pytest.importorskip("PIL.Image")
    path = page.with_name(f"{width}-{dark}.png")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    browse(page, scheme, f"--window-size={width},4000", f"--screenshot={path}")
    with image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def test_the_browser_builds_what_was_written(page: Path) -> None:
    dom = browse(page, "--dump-dom")
    written = page.read_text(encoding="utf-8")
    for tag in ("svg", "path", "rect", "details", "figure", "tr", "script"):
        assert len(re.findall(f"<{tag}[ >]", dom)) == len(re.findall(f"<{tag}[ >]", written)), tag
    assert dom.count("Histogram of") == written.count("Histogram of") > 2


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)])
def test_it_fits_a_phone_and_a_desk_in_light_and_dark(page: Path, width: int, dark: bool) -> None:
    pixels = shot(page, width, dark)
    assert pixels.shape[1] == width
    background = pixels[0, 0]
    assert (background.mean() < 60) == dark
    assert (pixels[:, -8:] == background).all(), "something sticks out at the right"
    blue = (pixels[..., 2].astype(int) - pixels[..., 0]) > 60
    assert blue.mean() > 0.005, "charts are drawn"
    colours = np.unique(pixels.reshape(-1, 3), axis=0)
    lightness = colours.mean(axis=1)
    assert lightness.max() - lightness.min() > 180, "text stands out"
