"""The cache: what is written is read, what is not a cache or another's is refused, shards join."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import oq
from oq import cli
from oq.calibration.cache import (
    Cache,
    Key,
    check_key,
    check_needs,
    load_cache,
    make_key,
    merge_caches,
    save_cache,
)
from oq.calibration.collect import Needs
from oq.calibration.packing import digest
from oq.errors import DataError, OptionError
from oq.numerics.statistics import EMPTY, Need, observe
from oq.numerics.values import Array
from tests.graphs import Net
from tests.small import normal

ALL = frozenset(Need)
VALUES = arrays.arrays(np.float32, st.integers(0, 20), elements=st.floats(width=32, allow_nan=True))
NEEDS: Needs = {"x": ALL, "y": frozenset(), "né/0:1": frozenset({Need.HISTOGRAM})}


def cache(data: str = "d", first: int = 0, samples: int = 8, complete: bool = True) -> Cache:
    found = {t: observe(normal(50, seed=first), need, first) for t, need in NEEDS.items()}
    return Cache(Key("m", data), NEEDS, samples, complete, found)


@settings(max_examples=25)
@given(values=st.lists(VALUES, max_size=4), samples=st.integers(0, 10**12), complete=st.booleans())
def test_what_is_saved_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, values: list[Array], samples: int, complete: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "c.cache"
    needs = [frozenset(), ALL, frozenset({Need.BATCHES}), frozenset({Need.HISTOGRAM})]
    found = {f"t{i}": observe(v, needs[i]) for i, v in enumerate(values)} | {"none": EMPTY}
    before = Cache(Key("m", "d"), dict.fromkeys(found, ALL), samples, complete, found)
    save_cache(before, path)
    assert load_cache(path) == before
    assert digest(load_cache(path).statistics) == digest(found)


def test_no_pickle_and_small(tmp_path: Path) -> None:
    save_cache(cache(), tmp_path / "c")
    with zipfile.ZipFile(tmp_path / "c") as archive:
        for name in archive.namelist():
            assert b"|O" not in archive.read(name)[:128], name
    assert (tmp_path / "c").stat().st_size < 10_000  # not 64 K counters per tensor
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_a_cut_or_altered_file_is_refused(tmp_path: Path) -> None:
    """Cut anywhere, or with any stretch overwritten: refused, or (in zip's slack) unharmed."""
    path = tmp_path / "c.cache"
    save_cache(cache(), path)
    whole, good = path.read_bytes(), load_cache(path)
    random = np.random.default_rng(0)
    for cut in (0, 1, 3, 4, 30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match="is not a calibration cache, or it is damaged"):
            load_cache(path)
    for _ in range(300):
        at = int(random.integers(len(whole)))
        broken = bytearray(whole)
        broken[at : at + 4] = random.bytes(4)
        path.write_bytes(bytes(broken[: len(whole)]))
        try:
            found = load_cache(path)
        except DataError as error:
            assert "damaged" in str(error) or "format" in str(error)
        else:
            assert found == good


@pytest.mark.parametrize("content", [b"hello", b"TRT-1-x\na: 3f800000\n", b"\x93NUMPY"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is not a calibration cache"):
        load_cache(path)
    np.save(tmp_path / "a.npy", np.zeros(3))
    np.savez(tmp_path / "b.npz", input=np.zeros(3))
    for name in ("a.npy", "b.npz"):
        with pytest.raises(DataError, match="is not a calibration cache"):
            load_cache(tmp_path / name)
    with pytest.raises(DataError, match="no calibration cache at"):
        load_cache(tmp_path / "missing")


def test_a_header_without_its_arrays_is_damaged(tmp_path: Path) -> None:
    save_cache(cache(), tmp_path / "c")
    with np.load(tmp_path / "c") as file:
        arrays_ = {n: file[n] for n in file.files}
    for lost in ("names", "counts", "extremes", "histograms", "batches", "lows_highs"):
        np.savez(tmp_path / "d.npz", **{n: a for n, a in arrays_.items() if n != lost})
        with pytest.raises(DataError, match="damaged"):
            load_cache(tmp_path / "d.npz")
    np.savez(tmp_path / "d.npz", **(arrays_ | {"counts": arrays_["counts"][:1]}))
    with pytest.raises(DataError, match="damaged"):
        load_cache(tmp_path / "d.npz")


def test_another_format_is_named(tmp_path: Path) -> None:
    header = np.frombuffer(json.dumps({"format": 99}).encode(), np.uint8)
    np.savez(tmp_path / "c.npz", header=header)
    with pytest.raises(DataError, match="of format 99; this oq reads format 2: calibrate again"):
        load_cache(tmp_path / "c.npz")


def test_the_key_is_the_model_and_the_data() -> None:
    net = Net()
    model = net.model(net.node("Relu", [net.input("x")], "y"))
    other = onnx.ModelProto()
    other.CopyFrom(model)
    assert make_key(model, "d") == make_key(other, "d")
    other.graph.node[0].name = "renamed"
    assert make_key(model, "d").model != make_key(other, "d").model
    assert make_key(model, "d").data != make_key(model, "e").data


def test_a_stale_cache_is_refused_with_the_reason() -> None:
    check_key(cache(), Key("m", "d"), "c")
    with pytest.raises(DataError, match="the cache 'c' was made with another model"):
        check_key(cache(), Key("other", "d"), "c")
    with pytest.raises(DataError, match="made with other samples or other preprocessing; delete"):
        check_key(cache(), Key("m", "other"), "c")
    check_key(cache(), Key("m", "other"), "c", data=False)


def test_needs_that_are_not_met_are_named() -> None:
    check_needs(cache(), {"x": frozenset({Need.BATCHES}), "y": frozenset()}, "c")
    with pytest.raises(DataError, match="lacks statistics of tensor 'y'"):
        check_needs(cache(), {"x": ALL, "y": ALL}, "c")
    with pytest.raises(DataError, match="lacks statistics of tensor 'z'"):
        check_needs(cache(), {"z": frozenset()}, "c")
    begun = cache(complete=False)
    check_needs(begun, NEEDS, "c")
    with pytest.raises(DataError, match="is unfinished and was started for another target"):
        check_needs(begun, {"x": ALL}, "c")


def test_merging(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}" for i in range(3)]
    for i, path in enumerate(paths):
        save_cache(cache(str(i), first=8 * i), path)
    shards = [load_cache(p) for p in paths]
    moved = [
        replace(s, statistics={t: observe(normal(50, seed=8 * i), n, 0) for t, n in NEEDS.items()})
        for i, s in enumerate(shards)
    ]
    for path, shard in zip(paths, moved, strict=True):
        save_cache(shard, path)  # every shard counts its samples from 0
    whole = merge_caches(paths)
    assert whole.samples == 24 and whole.complete
    batches = whole.statistics["x"].batches
    assert batches is not None and batches[:, 0].tolist() == [0, 8, 16]
    values = np.concatenate([normal(50, seed=8 * i) for i in range(3)])
    need = NEEDS["né/0:1"]
    assert whole.statistics["né/0:1"] == observe(values, need)
    assert merge_caches(paths[::-1]).key == whole.key  # the same samples
    assert merge_caches(paths[:2]).key != whole.key
    assert merge_caches(paths[:1]) == load_cache(paths[0])


def test_shards_that_do_not_belong_together(tmp_path: Path) -> None:
    good, again, begun, other, fewer = (tmp_path / n for n in "abcde")
    save_cache(cache("1"), good)
    save_cache(cache("1"), again)
    save_cache(cache("2", complete=False), begun)
    save_cache(replace(cache("3"), key=Key("n", "3")), other)
    save_cache(replace(cache("4"), needs={"x": ALL}), fewer)
    for second, message in (
        (again, "holds the same samples as another shard"),
        (begun, "is unfinished; run its calibration to the end"),
        (other, "made with another model"),
        (fewer, "lacks statistics of tensor 'y'"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            merge_caches([good, second])
        assert str(second) in str(caught.value)
    with pytest.raises(DataError, match="is unfinished"):
        merge_caches([begun, good])
    with pytest.raises(OptionError, match="--merge needs the caches to join"):
        merge_caches([])


# ---- on the command line

BUNDLED = Path(oq.__file__).parent / "bundled"
MODEL = BUNDLED / "residual.onnx"


def call(monkeypatch: pytest.MonkeyPatch, *args: str | Path) -> None:
    """``oq ARGS``; raises SystemExit unless it exits with 0."""
    monkeypatch.setattr("sys.argv", ["oq", *map(str, args)])
    try:
        cli.main()
    except SystemExit as end:
        if end.code:
            raise


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """96 samples whole, and in three parts of four batches each."""
    with np.load(BUNDLED / "digits_calib.npz") as file:
        images = file["input"][:96]
    np.savez(tmp_path / "whole.npz", input=images)
    for i in range(3):
        np.savez(tmp_path / f"{i}.npz", input=images[32 * i : 32 * i + 32])
    return tmp_path


@pytest.mark.parametrize("calibrator", ["minmax", "percentile", "moving_average"])
def test_joined_shards_make_the_file_of_the_single_run(
    shards: Path, monkeypatch: pytest.MonkeyPatch, calibrator: str
) -> None:
    """Byte for byte.  A run straight from the data differs only in the fingerprint of statistics
    it writes down, having kept no more of them than its calibrator reads."""
    monkeypatch.chdir(shards)
    for name in ("0", "1", "2", "whole"):
        call(monkeypatch, "calibrate", MODEL, "-t", "trt", "-d", f"{name}.npz", "--cache", name)
    call(monkeypatch, "calibrate", "--cache", "joined", "--merge", "0", "1", "2")
    for name in ("whole", "joined"):
        call(monkeypatch, "quantize", MODEL, "-t", "trt", "--cache", name, "--calibrator",
             calibrator, "-o", f"{name}.onnx")  # fmt: skip
    assert (shards / "whole.onnx").read_bytes() == (shards / "joined.onnx").read_bytes()
    call(monkeypatch, "quantize", MODEL, "-t", "trt", "-d", "whole.npz", "--no-verify",
         "--refine", "none", "--calibrator", calibrator, "-o", "direct.onnx")  # fmt: skip
    joined, direct = onnx.load("joined.onnx"), onnx.load("direct.onnx")
    for model in (joined, direct):
        kept = [p for p in model.metadata_props if p.key != "oq.data.source"]
        del model.metadata_props[:]
        model.metadata_props.extend(kept)
    assert joined == direct


def test_shards_by_hand_make_the_cache_of_the_single_run(
    shards: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Byte for byte, joined in any order and in steps; 96 samples are six batches for nine
    shards."""
    monkeypatch.chdir(shards)
    run = ("calibrate", MODEL, "-t", "trt", "-d", "whole.npz")
    call(monkeypatch, *run, "--cache", "whole")
    names = [f"s{i}" for i in range(1, 10)]
    for i, name in enumerate(names, 1):
        call(monkeypatch, *run, "--shard", f"{i}/9", "--cache", name)
    assert sum(load_cache(n).samples == 0 for n in names) == 3
    capsys.readouterr()
    call(monkeypatch, "calibrate", "--merge", *names[5:2:-1], names[8], "--cache", "some")
    assert "shard 1-3, 7-8 is still to be joined" in capsys.readouterr().out
    call(monkeypatch, "calibrate", "--merge", "some", *names[:3], *names[6:8], "--cache", "all")
    assert (shards / "all").read_bytes() == (shards / "whole").read_bytes()
    assert "still" not in capsys.readouterr().out


def test_shards_are_taken_for_what_they_are(
    shards: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shards)
    for name, data, more in (
        ("a", "whole", ("--shard", "1/2")),
        ("b", "whole", ("--shard", "2/2")),
        ("third", "whole", ("--shard", "1/3")),
        ("other", "0", ("--shard", "2/2")),
        ("all", "whole", ()),
    ):
        call(monkeypatch, "calibrate", MODEL, "-t", "trt", "-d", f"{data}.npz", "--cache", name,
             *more)  # fmt: skip
    run = ("calibrate", MODEL, "-t", "trt", "-d", "whole.npz")
    for args, said in (
        ((*run, "--cache", "a"), "holds shard 1 of 2 alone; join it with 2 (--merge)"),
        ((*run, "--cache", "a", "--shard", "2/2"), "holds shard 1 of 2 alone; delete it"),
        ((*run, "--cache", "all", "--shard", "2/2"), "holds all samples, not shard 2 of 2"),
        (("quantize", MODEL, "-t", "trt", "--cache", "a"), "join it with 2 (--merge)"),
        (("calibrate", "--merge", "a", "a", "--cache", "x"), "'a' holds shard 1 once more"),
        (("calibrate", "--merge", "a", "third", "--cache", "x"), "holds shard 1 of 3, the first"),
        (("calibrate", "--merge", "a", "all", "--cache", "x"), "holds all samples, the first one"),
        (("calibrate", "--merge", "all", "a", "--cache", "x"), "same samples as another shard"),
        (("calibrate", "--merge", "a", "other", "--cache", "x"), "made with other samples"),
        ((*run, "--cache", "x", "--shard", "3/2"), "--shard '3/2': expected NUMBER/OF"),
    ):
        with pytest.raises(SystemExit) as end:
            call(monkeypatch, *args)
        assert end.value.code == 2
        assert said in capsys.readouterr().err
    assert not (shards / "x").exists()


def test_a_stale_cache_on_the_command_line(
    shards: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shards)
    call(monkeypatch, "calibrate", MODEL, "-t", "trt", "-d", "0.npz", "--cache", "c")
    for args, said in (
        (("-d", "1.npz"), "other samples or other preprocessing"),
        (("-d", "0.npz", "--samples", "9"), "other samples or other preprocessing"),
        (("-d", "0.npz", "--keep-float", "*"), None),
    ):
        try:
            call(monkeypatch, "calibrate", MODEL, "-t", "trt", "--cache", "c", *args)
        except SystemExit as end:
            assert end.code == 2 and said is not None
            assert said in capsys.readouterr().err
        else:
            assert said is None  # asks for less than the cache has
    with pytest.raises(SystemExit):
        call(monkeypatch, "calibrate", BUNDLED / "separable.onnx", "-t", "trt", "-d", "0.npz",
             "--cache", "c")  # fmt: skip
    assert "another model" in capsys.readouterr().err
