"""The schema against coremltools' generated one: every field, and the parse of a real package."""

from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from oq.artifacts.mlpackage.schema import message_class
from tests.mil import MODEL, small_package

pytest.importorskip("coremltools")


@pytest.mark.parametrize("ios", [17, 18])
def test_a_package_reads_as_coremltools_reads_it(ios: int, tmp_path: Path) -> None:
    from coremltools.proto import Model_pb2

    raw = (small_package(tmp_path / "m.mlpackage", ios=ios, half=True) / MODEL).read_bytes()
    ours, theirs = message_class().FromString(raw), Model_pb2.Model.FromString(raw)
    plain = {"use_integers_for_enums": True, "preserving_proto_field_name": True}
    assert MessageToDict(ours, **plain) == MessageToDict(theirs, **plain)
    assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(
        deterministic=True
    )


def test_every_field_has_apple_s_number_and_type() -> None:
    from coremltools.proto import Model_pb2

    seen = set()

    def compare(ours: object, theirs: object) -> None:
        if ours.full_name in seen:  # type: ignore[attr-defined]
            return
        seen.add(ours.full_name)  # type: ignore[attr-defined]
        for field in ours.fields:  # type: ignore[attr-defined]
            other = theirs.fields_by_name[field.name]  # type: ignore[attr-defined]
            assert field.number == other.number, field.full_name
            assert field.is_repeated == other.is_repeated, field.full_name
            if field.message_type is None:
                # an enumeration is an int32 on the wire
                enum = other.enum_type is not None
                assert (field.type == other.type) or (enum and field.type == field.TYPE_INT32)
            else:
                compare(field.message_type, other.message_type)

    compare(message_class().DESCRIPTOR, Model_pb2.Model.DESCRIPTOR)
    assert len(seen) > 40


def test_program_messages_are_whole() -> None:
    """A field of a program that is not listed would be skipped in silence."""
    from coremltools.proto import MIL_pb2

    program = message_class().DESCRIPTOR.fields_by_name["mlProgram"].message_type
    todo, seen = [(program, MIL_pb2.Program.DESCRIPTOR)], set()
    while todo:
        ours, theirs = todo.pop()
        if ours.full_name in seen:
            continue
        seen.add(ours.full_name)
        assert {f.name for f in ours.fields} == {f.name for f in theirs.fields}
        todo += [
            (f.message_type, theirs.fields_by_name[f.name].message_type)
            for f in ours.fields
            if f.message_type is not None
        ]
