"""Loading says what is wrong with a file; saving leaves a whole file or the old one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from oq.errors import ModelError, OptionError
from oq.model import files, wire
from oq.model.data_files import data_files, file_bytes, tensors_of
from oq.model.files import (
    check_writable,
    load_headers,
    load_light,
    load_model,
    loadable,
    model_bytes,
    replacing,
    replacing_files,
    save_model,
)
from oq.model.stored import Place, put_place
from tests.small import assert_same_outputs, normal, small

MATMUL = "net (float[n,32] x) => (float[n,32] y) { y = MatMul(x, w) }"


def matmul() -> onnx.ModelProto:
    return small(MATMUL, {"w": normal(32, 32)})


def with_external(folder: Path, model: onnx.ModelProto | None = None) -> Path:
    """``folder/net.onnx`` with every tensor in ``folder/w.bin``."""
    path, moved = folder / "net.onnx", onnx.ModelProto()
    moved.CopyFrom(matmul() if model is None else model)
    onnx.save_model(
        moved,
        path,
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
        convert_attribute=True,
    )
    return path


def set_entry(path: Path, key: str, value: str | None) -> None:
    """Change or remove an entry of the first tensor's external data."""
    model = onnx.load(path, load_external_data=False)
    entries = model.graph.initializer[0].external_data
    kept = {e.key: e.value for e in entries} | ({} if value is None else {key: value})
    if value is None:
        del kept[key]
    del entries[:]
    for name, text in kept.items():
        entries.add(key=name, value=text)
    onnx.save(model, path)


# ---- loading


def test_external_data_is_loaded(tmp_path: Path) -> None:
    path = with_external(tmp_path)
    assert_same_outputs(matmul(), load_model(path))
    assert file_bytes(path) == path.stat().st_size + 32 * 32 * 4


def test_file_bytes_counts_a_shared_data_file_once(tmp_path: Path) -> None:
    text = "net (float[n,32] x) => (float[n,32] y) { a = MatMul(x, w)\n y = MatMul(a, v) }"
    path = with_external(tmp_path, small(text, {"w": normal(32, 32), "v": normal(32, 32)}))
    assert file_bytes(path) == path.stat().st_size + (tmp_path / "w.bin").stat().st_size


def test_data_files_are_those_of_bodies_and_attributes_too(tmp_path: Path) -> None:
    text = """net (float[n,2] x, bool c) => (float[n,2] y) {
        k = Constant <value = float[2] {1, 2}> ()
        y = If (c) <
            then_branch = g1 () => (float[n,2] t) { t = Add(x, k) },
            else_branch = g2 () => (float[n,2] e) { e = Sub(x, x) }
        >
    }"""
    model = small(text)
    body = model.graph.node[1].attribute[0].g
    body.initializer.append(onnx.numpy_helper.from_array(normal(2), "unread"))
    assert data_files(with_external(tmp_path, model)) == [tmp_path / "w.bin"]
    set_place = body.initializer[0].external_data.add
    body.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    set_place(key="location", value="body.bin")
    onnx.save(model, tmp_path / "net.onnx")
    assert data_files(tmp_path / "net.onnx") == [tmp_path / "body.bin"]
    assert data_files(tmp_path / "w.bin") == data_files(tmp_path / "nothing.onnx") == []


def remove(path: Path) -> None:
    path.unlink()


def make_text(path: Path) -> None:
    path.write_text("this is not a protobuf, dear user\n")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def drop_nodes(path: Path) -> None:
    model = matmul()
    del model.graph.node[:]
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove, "no model file at .*net.onnx"),
        (make_folder, "no model file at .*net.onnx"),
        (make_text, "net.onnx' is not an ONNX model, or it is cut off"),
        (cut_off, "net.onnx' is not an ONNX model, or it is cut off"),
        (make_empty, "net.onnx' holds no ONNX graph"),
        (drop_nodes, "net.onnx' holds no ONNX graph"),
    ],
)
def test_what_is_wrong_with_a_model_file(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "net.onnx"
    save_model(matmul(), path)
    damage(path)
    with pytest.raises(ModelError, match=message):
        load_model(path)


def drop_data(path: Path) -> None:
    path.with_name("w.bin").unlink()


def shorten_data(path: Path) -> None:
    path.with_name("w.bin").write_bytes(bytes(4095))


def shorten_data_without_length(path: Path) -> None:
    set_entry(path, "length", None)
    shorten_data(path)


def shift_data(path: Path) -> None:
    set_entry(path, "offset", "4096")


def point_up(path: Path) -> None:
    path.parent.with_name("secret.bin").write_bytes(bytes(4096))
    set_entry(path, "location", "../secret.bin")


def point_to_root(path: Path) -> None:
    set_entry(path, "location", str(path.parent.with_name("secret.bin")))


def link_out(path: Path) -> None:
    outside = path.parent.with_name("secret.bin")
    outside.write_bytes(bytes(4096))
    drop_data(path)
    path.with_name("w.bin").symlink_to(outside)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_data, "external data 'w.bin' of .*net.onnx' is missing"),
        (shorten_data, "external data 'w.bin' of .*net.onnx' is shorter than 4096 bytes"),
        (shorten_data_without_length, "external data 'w.bin' .* is shorter than 4096 bytes"),
        (shift_data, "external data 'w.bin' of .*net.onnx' is shorter than 8192 bytes"),
        (point_up, "tensor 'w' of .* points outside the model's folder"),
        (point_to_root, "tensor 'w' of .* points outside the model's folder"),
        (link_out, "tensor 'w' of .* points outside the model's folder"),
    ],
)
def test_what_is_wrong_with_external_data(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = with_external(folder)
    damage(path)
    with pytest.raises(ModelError, match=message):
        load_model(path)


def test_external_data_without_a_length_is_read(tmp_path: Path) -> None:
    path = with_external(tmp_path)
    set_entry(path, "length", None)
    assert_same_outputs(matmul(), load_model(path))


def test_missing_data_of_an_attribute_is_named(tmp_path: Path) -> None:
    model = small("net (float[n] x) => (float[n] y) { k = Constant()\n y = Mul(x, k) }")
    values = onnx.numpy_helper.from_array(normal(1))
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("value", values))
    path = with_external(tmp_path, model)
    assert_same_outputs(model, load_model(path))
    drop_data(path)
    with pytest.raises(ModelError, match=r"external data 'w.bin' of .*net\.onnx' is missing"):
        load_model(path)


def everywhere() -> onnx.ModelProto:
    """A tensor of each kind of place, called ``at_PLACE``: what may name a file."""
    text = """net (float[n,2] x, bool c) => (float[n,2] y) {
        z = com.example.act(x)
        y = If (c) <
            then_branch = g1 () => (float[n,2] t) { k = Constant() t = Add(z, k) },
            else_branch = g2 () => (float[n,2] e) { e = Sub(z, x) }
        >
    }"""
    model = small(text)
    act = """<domain: "com.example", opset_import: ["" : 17]> act (x) => (y) {
        k = Constant() y = Mul(x, k)
    }"""
    model.functions.append(onnx.parser.parse_function(act))
    body = model.graph.node[1].attribute[0].g
    model.graph.initializer.append(tensor("graph"))
    body.initializer.append(tensor("body"))
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(tensor("sparse"))
    sparse.indices.CopyFrom(onnx.numpy_helper.from_array(np.arange(2), "indices"))
    sparse.dims.append(2)
    for node, name in ((body.node[0], "attribute"), (model.functions[0].node[0], "function")):
        node.attribute.append(onnx.helper.make_attribute("value", tensor(name)))
    listed = [tensor("list")]
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("many", listed))
    model.training_info.add().algorithm.initializer.append(tensor("training"))
    return model


def tensor(place: str) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(normal(2, seed=len(place)), f"at_{place}")


PLACES = ("graph", "body", "sparse", "attribute", "function", "list", "training")


@pytest.mark.parametrize("read", [load_model, load_light, load_headers])
@pytest.mark.parametrize("place", PLACES)
def test_no_tensor_names_a_file_outside(
    tmp_path: Path, place: str, read: Callable[[Path], onnx.ModelProto]
) -> None:
    model, folder = everywhere(), tmp_path / "model"
    held = next(t for t in tensors_of(model) if t.name == f"at_{place}")
    values = held.raw_data
    folder.mkdir()
    for file in (tmp_path / "secret.bin", folder / "w.bin"):
        file.write_bytes(values)
    for location in ("../secret.bin", str(tmp_path / "secret.bin"), "w.bin"):
        held.ClearField("raw_data")
        held.data_location = onnx.TensorProto.EXTERNAL
        del held.external_data[:]
        held.external_data.add(key="location", value=location)
        (folder / "net.onnx").write_bytes(model.SerializeToString())
        if location != "w.bin":
            with pytest.raises(ModelError, match=f"tensor 'at_{place}' of .* points outside"):
                read(folder / "net.onnx")
            continue
        assert data_files(folder / "net.onnx") == [folder / "w.bin"]
        found = next(t for t in tensors_of(read(folder / "net.onnx")) if t.name == held.name)
        assert found.raw_data == (b"" if read is load_headers else values)


@pytest.mark.parametrize("key", ["offset", "length"])
def test_external_data_before_its_file(tmp_path: Path, key: str) -> None:
    path = with_external(tmp_path)
    set_entry(path, key, "-4096")
    with pytest.raises(ModelError, match=r"external data of tensor 'w' .*must be non-negative"):
        load_light(path)


# ---- saving


def test_saving_returns_the_bytes_on_disk_and_loads_again(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    assert save_model(matmul(), path) == path.stat().st_size == file_bytes(path)
    assert_same_outputs(matmul(), load_model(path))
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_large_models_get_a_data_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PROTOBUF_LIMIT", 2000)
    model, path = matmul(), tmp_path / "net.onnx"
    assert save_model(model, path) == file_bytes(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.onnx", "net.onnx.data"]
    assert (tmp_path / "net.onnx.data").stat().st_size >= 4096
    assert_same_outputs(matmul(), load_model(path))
    # the caller still has a whole model
    assert model.SerializeToString() == matmul().SerializeToString()
    path.rename(tmp_path / "moved.onnx")
    assert_same_outputs(matmul(), load_model(tmp_path / "moved.onnx"))


def test_model_bytes_beyond_what_protobuf_counts(tmp_path: Path) -> None:
    """A weight of 3 GB in a file that has nothing but holes."""
    model, size = matmul(), 3 * 2**30
    with (tmp_path / "w").open("wb") as file:
        file.truncate(size)
    put_place(model.graph.initializer[0], Place(tmp_path / "w", 0, size))
    assert size < model_bytes(model) < size + 1000
    assert model_bytes(matmul()) == len(matmul().SerializeToString())


@pytest.mark.parametrize("limit", [files.PROTOBUF_LIMIT, 2000])
def test_a_failing_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    path = tmp_path / "net.onnx"
    save_model(matmul(), path)
    old = path.read_bytes()
    monkeypatch.setattr(files, "PROTOBUF_LIMIT", limit)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wire, "write_full", full)
    monkeypatch.setattr(wire, "write_apart", full)
    with pytest.raises(OptionError, match="No space left"):
        save_model(small(MATMUL, {"w": np.zeros((32, 32), np.float32)}), path)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


def test_the_destination_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as beside:
        beside.write_text("half")
        assert not path.exists() and beside.parent == tmp_path
    assert path.read_text() == "half"
    with pytest.raises(RuntimeError), replacing(path) as beside:
        beside.write_text("other")
        raise RuntimeError
    assert path.read_text() == "half"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="it is a folder; give a file name"):
        check_writable(tmp_path)
    with pytest.raises(OptionError, match="absent' does not exist"):
        save_model(matmul(), tmp_path / "absent" / "net.onnx")
    check_writable(tmp_path / "new.onnx")
    assert not list(tmp_path.iterdir())


def test_a_read_only_folder_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    # root may write anywhere, so the refusal is played
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(OptionError, match=r"cannot write .*net\.onnx': Permission denied"):
        check_writable(tmp_path / "net.onnx")


def test_runtimes_get_bytes_and_beyond_the_limit_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = matmul()
    with loadable(model) as source:
        assert isinstance(source, bytes) and onnx.load_from_string(source) == model
    with loadable(tmp_path / "net.onnx") as source:
        assert source == str(tmp_path / "net.onnx")
    monkeypatch.setattr(files, "PROTOBUF_LIMIT", 10)
    with loadable(model) as source:
        assert isinstance(source, str)
        assert_same_outputs(model, load_model(source))
    assert not Path(source).exists()


def test_files_that_belong_together_appear_together(tmp_path: Path) -> None:
    paths = tmp_path / "m.xml", tmp_path / "m.bin"
    paths[0].write_text("old")
    with pytest.raises(RuntimeError), replacing_files(*paths) as first:
        first.write_text("half")
        raise RuntimeError
    assert [f.name for f in tmp_path.iterdir()] == ["m.xml"] and paths[0].read_text() == "old"
    with replacing_files(*paths) as first:
        first.write_text("new")
        first.with_suffix(".bin").write_text("weights")
    assert [p.read_text() for p in paths] == ["new", "weights"]
    assert len(list(tmp_path.iterdir())) == 2
