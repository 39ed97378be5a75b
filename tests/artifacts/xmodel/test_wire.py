"""The parser of protobuf's bytes: numbers as XIR's files have them, and damage."""

import pytest

from oq.artifacts.xmodel.file import read_graph
from oq.artifacts.xmodel.wire import MESSAGES, Attribute, parse
from oq.errors import ModelError
from tests.xmodels import lenet, write

VALUES = {
    "20 00": ("bool", False),
    "28 06": ("int32", 6),
    "28 FE FF FF FF FF FF FF FF FF 01": ("int32", -2),
    "30 FF FF FF FF 0F": ("uint32", 2**32 - 1),
    "38 FF FF FF FF FF FF FF FF FF 01": ("int64", -1),
    "4D 00 00 00 3F": ("float", 0.5),
    "51 00 00 00 00 00 00 E0 3F": ("double", 0.5),
    "5A 02 41 42": ("string", "AB"),
    "62 04 0A 02 01 02": ("Bytes", b"\x01\x02"),
    "72 04 0A 02 01 02": ("int32s", (1, 2)),
    "72 04 08 01 08 02": ("int32s", (1, 2)),
    "72 00": ("int32s", ()),
    "92 01 06 0A 04 00 00 00 3F": ("floats", (0.5,)),
    "A2 01 06 0A 01 41 0A 01 42": ("strings", ("A", "B")),
    "D2 01 08 0A 06 0A 01 61 12 01 62": ("map string", {"a": "b"}),
    "E2 01 0B 0A 09 0A 01 61 12 04 0A 02 01 02": ("map int32s", {"a": (1, 2)}),
}
"""The bytes of an AttrValue, numbers packed and not."""


@pytest.mark.parametrize("text", VALUES)
def test_an_attribute_has_the_case_and_the_value_of_its_field(text: str) -> None:
    case, value = VALUES[text]
    entry = bytes([0x0A, 1, 0x6B, 0x12, len(bytes.fromhex(text))]) + bytes.fromhex(text)
    node = bytes([0x1A, len(entry)]) + entry
    assert parse(node, "OPNode") == {"attributes": {"k": Attribute(case, value)}}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("38 01", "Graph has field 7, which XIR's schema has not"),
        ("08 01", "'string' has wire type 0, not 2"),
        ("0A 05 41", "the file ends within a field"),
        ("2A 02 0A", "the file ends within a field"),
        ("0A FF", "the file ends within a number"),
        ("0B", "field 1 has wire type 3"),
        ("0A 01 FF", "a name is not UTF-8"),
        ("0A FF FF FF FF FF FF FF FF FF FF 01", "more than 10 bytes"),
        ("2A 06 1A 04 0A 00 12 00", "an attribute has 0 values"),
        ("5A 04 0A 00 1A 00", "an entry of 'attributes' has field 3"),
    ],
)
def test_what_is_no_xir_graph_is_said(data: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        parse(bytes.fromhex(data))


def test_every_vector_and_map_wraps_field_1() -> None:
    numbers = MESSAGES["AttrValue"]
    assert [*numbers] == [*range(4, 33)]
    assert [numbers[n].name for n in (4, 9, 13, 21, 22, 27, 28, 32)] == [
        *("bool", "float", "bools", "Bytess", "map int32", "map Bytes"),
        *("map int32s", "map strings"),
    ]


def test_a_file_cut_anywhere_is_refused_or_ends_early() -> None:
    """Never another exception; an end between two fields is not damage that protobuf can see."""
    data = write(lenet()).data
    whole = read_graph(data)
    for at in range(0, len(data), 97):
        try:
            assert read_graph(data[:at]) != whole
        except ModelError:
            continue
