"""The messages of Core ML's protobuf that an ML program is made of, built at run time.

Field numbers and types are those of Apple's Model.proto, FeatureTypes.proto and MIL.proto
(https://apple.github.io/coremltools/mlmodel).  Other kinds of models are fields that are not
listed: protobuf skips them.
"""

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "oq.mlpackage"

MESSAGES = {
    "Model": "specificationVersion=1:int32 description=2:ModelDescription mlProgram=502:Program",
    "ModelDescription": "input=1*:Feature output=10*:Feature predictedFeatureName=11:string "
    "predictedProbabilitiesName=12:string state=13*:Feature functions=20*:FunctionDescription "
    "defaultFunctionName=21:string metadata=100:Metadata",
    "FunctionDescription": "name=1:string input=2*:Feature output=3*:Feature "
    "predictedFeatureName=4:string predictedProbabilitiesName=5:string state=6*:Feature",
    "Metadata": "shortDescription=1:string versionString=2:string author=3:string license=4:string "
    "userDefined=100%:string",
    "Feature": "name=1:string shortDescription=2:string type=3:FeatureType",
    "FeatureType": "int64Type=1:Empty doubleType=2:Empty stringType=3:Empty imageType=4:Image "
    "multiArrayType=5:MultiArray dictionaryType=6:Empty sequenceType=7:Empty stateType=8:Empty "
    "isOptional=1000:bool",
    "Empty": "",
    "SizeRange": "lowerBound=1:uint64 upperBound=2:int64",
    "Image": "width=1:int64 height=2:int64 colorSpace=3:int32 enumeratedSizes=21:ImageSizes "
    "imageSizeRange=31:ImageRange",
    "ImageSizes": "sizes=1*:ImageSize",
    "ImageSize": "width=1:uint64 height=2:uint64",
    "ImageRange": "widthRange=1:SizeRange heightRange=2:SizeRange",
    "MultiArray": "shape=1*:int64 dataType=2:int32 enumeratedShapes=21:ArrayShapes "
    "shapeRange=31:ArrayRange intDefaultValue=41:int32 floatDefaultValue=51:float "
    "doubleDefaultValue=61:double",
    "ArrayShapes": "shapes=1*:ArrayShape",
    "ArrayShape": "shape=1*:int64",
    "ArrayRange": "sizeRanges=1*:SizeRange",
    "Program": "version=1:int64 functions=2%:Function docString=3:string attributes=4%:Value",
    "Function": "inputs=1*:NamedValueType opset=2:string block_specializations=3%:Block "
    "attributes=4%:Value",
    "Block": "inputs=1*:NamedValueType outputs=2*:string operations=3*:Operation "
    "attributes=4%:Value",
    "Operation": "type=1:string inputs=2%:Argument outputs=3*:NamedValueType blocks=4*:Block "
    "attributes=5%:Value",
    "Argument": "arguments=1*:Binding",
    "Binding": "name=1:string value=2:Value",
    "NamedValueType": "name=1:string type=2:ValueType",
    "ValueType": "tensorType=1:TensorType listType=2:ListType tupleType=3:TupleType "
    "dictionaryType=4:DictionaryType stateType=5:StateType",
    "TensorType": "dataType=1:int32 rank=2:int64 dimensions=3*:Dimension attributes=4%:Value",
    "TupleType": "types=1*:ValueType",
    "ListType": "type=1:ValueType length=2:Dimension",
    "DictionaryType": "keyType=1:ValueType valueType=2:ValueType",
    "StateType": "wrappedType=1:ValueType",
    "Dimension": "constant=1:ConstantDimension unknown=2:UnknownDimension",
    "ConstantDimension": "size=1:uint64",
    "UnknownDimension": "variadic=1:bool",
    "Value": "docString=1:string type=2:ValueType immediateValue=3:Immediate blobFileValue=5:Blob",
    "Blob": "fileName=1:string offset=2:uint64",
    "Immediate": "tensor=1:TensorValue tuple=2:ValueList list=3:ValueList dictionary=4:Pairs",
    "ValueList": "values=1*:Value",
    "Pairs": "values=1*:Pair",
    "Pair": "key=1:Value value=2:Value",
    "TensorValue": "floats=1:Floats ints=2:Ints bools=3:Bools strings=4:Strings "
    "longInts=5:LongInts doubles=6:Doubles bytes=7:Bytes",
    "Floats": "values=1*:float",
    "Ints": "values=1*:int32",
    "Bools": "values=1*:bool",
    "Strings": "values=1*:string",
    "LongInts": "values=1*:int64",
    "Doubles": "values=1*:double",
    "Bytes": "values=1:bytes",
}
"""Message -> its fields, ``name=number:type``; ``*`` repeated, ``%`` a map from string to the type.

Names of fields are Apple's; of messages, short ones.  Enumerations are int32, as on the wire."""

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    name: getattr(_FIELD, f"TYPE_{name.upper()}")
    for name in ("int32", "int64", "uint64", "bool", "float", "double", "string", "bytes")
}


@cache
def message_class() -> Any:
    """The class of the message ``Model``."""
    file = descriptor_pb2.FileDescriptorProto(
        name="oq/mlpackage.proto", package=PACKAGE, syntax="proto3"
    )
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split():
            _add_field(message, *field.split("="))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Model"))


def _add_field(message: Any, name: str, text: str) -> None:
    number, kind = text.split(":")
    many, mapped = number.endswith("*"), number.endswith("%")
    if mapped:
        entry = message.nested_type.add(name=f"{_camel(name)}Entry")
        entry.options.map_entry = True
        _set_type(entry.field.add(name="key", number=1, label=_FIELD.LABEL_OPTIONAL), "string")
        _set_type(entry.field.add(name="value", number=2, label=_FIELD.LABEL_OPTIONAL), kind)
        kind = f"{message.name}.{entry.name}"
    label = _FIELD.LABEL_REPEATED if many or mapped else _FIELD.LABEL_OPTIONAL
    _set_type(message.field.add(name=name, number=int(number.rstrip("*%")), label=label), kind)


def _set_type(field: Any, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{PACKAGE}.{kind}"


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))
