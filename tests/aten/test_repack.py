"""Archives lose what is of one process alone."""

import io
import zipfile

from oq.aten.repack import repack


def archive(mangle: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as made:
        made.writestr("archive/data/0", b"\0" * 100)
        made.writestr("archive/data.pkl", f"c__torch__.{mangle}Net\n")
        code = f"archive/code/__torch__/{mangle.replace('.', '/')}Net.py"
        made.writestr(code, f"x: __torch__.{mangle}Net")
        made.writestr(f"{code}.debug_pkl", "/home/me")
        made.writestr("archive/traced_inputs/0", b"\1" * 50)
        made.writestr("archive/.data/serialization_id", mangle)
    return held.getvalue()


def test_two_processes_give_the_same_bytes() -> None:
    one, other = repack(archive("")), repack(archive("___torch_mangle_12."))
    assert one == other
    with zipfile.ZipFile(io.BytesIO(one)) as held:
        assert held.namelist() == [
            "archive/data/0", "archive/data.pkl", "archive/code/__torch__/Net.py",
            "archive/.data/serialization_id",
        ]  # fmt: skip
        assert held.read("archive/data/0") == b"\0" * 100


def test_tensors_begin_at_multiples_of_64_bytes() -> None:
    found = repack(archive(""))
    with zipfile.ZipFile(io.BytesIO(found)) as held:
        (entry,) = (e for e in held.infolist() if e.filename == "archive/data/0")
    start = entry.header_offset + 30 + len(entry.filename) + len(entry.extra)
    assert start % 64 == 0 and found[start : start + 100] == b"\0" * 100
