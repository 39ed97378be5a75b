"""The bytes of attributes, field number by field number, as XIR's own files have them."""

import pytest

from oq.deployment.xmodel.graph import Attribute, XirBuilder
from oq.deployment.xmodel.schema import message_class

BYTES: dict[Attribute, str] = {
    False: "20 00",
    True: "20 01",
    6: "28 06",
    -2: "28 FE FF FF FF FF FF FF FF FF 01",
    0.5: "4D 00 00 00 3F",
    "AB": "5A 02 41 42",
    b"\x01\x02": "62 04 0A 02 01 02",
    (1, 1): "72 04 0A 02 01 01",
    (0.5,): "92 01 06 0A 04 00 00 00 3F",
    ("A", "B"): "A2 01 06 0A 01 41 0A 01 42",
}


@pytest.mark.parametrize("value", [pytest.param(v, id=str(v)) for v in BYTES])
def test_an_attribute_is_written_as_its_type(value: Attribute) -> None:
    builder = XirBuilder()
    builder.add("relu", "r", (1,), {}, {"k": value})
    graph = message_class("Graph").FromString(builder.to_bytes("g", {}))
    wanted = bytes.fromhex(BYTES[value])
    assert graph.op_node[0].op_attr["k"].SerializeToString() == wanted


def test_a_whole_graph_by_hand() -> None:
    builder = XirBuilder()
    builder.add("relu", "b", (1, 2), {"input": ("a",)}, {})
    node = "0A0162120472656C75220A0A05696E7075741201612A0B0A01621202010228043020"
    body = "0A0167" + f"2A{len(bytes.fromhex(node)):02X}" + node + "52090A04726F6F741A0162"
    assert builder.to_bytes("g", {}).hex().upper() == body


def test_names_are_of_letters_and_digits_and_unlike() -> None:
    builder = XirBuilder()
    names = [builder.add("data", w, (1,), {}, {}) for w in ("a/b.c", "a:b-c", "a_b_c_2", "")]
    assert names == ["a_b_c", "a_b_c_2", "a_b_c_2_2", "op"]
