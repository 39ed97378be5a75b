"""The options of ``oq deploy``; those with an example are keys of ``deploy`` in a config file."""

from oq.options.kinds import COUNT, PATH, PLAIN, SHAPES, SWITCH, TEXT, WHOLE
from oq.options.rows import Option

TO = Option("the format: see oq formats", TEXT, metavar="FORMAT", takes="a name", example="coreml")
PLACE = Option(
    "default: beside the quantized file, with the format's suffix",
    PATH,
    flags=("--output", "-o"),
    metavar="FILE",
    takes="a path",
    example="model.mlpackage",
)
PROOF_DATA = Option(
    "samples that the written file is compared on: as for oq quantize, or random",
    TEXT,
    "random",
    ("--data", "-d"),
    takes="a path",
    example="eval.npz",
)
PROFILE = "trt: {} shape of an input that has free axes; ? takes a default; repeatable"
MIN_SHAPE, OPT_SHAPE, MAX_SHAPE = (
    Option(
        PROFILE.format(which),
        SHAPES,
        metavar="NAME=1x3x224x224",
        takes="a mapping",
        example=f"{{input: [{batch}, 3, 224, 224]}}",
    )
    for which, batch in (("smallest", 1), ("usual", 8), ("largest", 32))
)
PROOF_SAMPLES = Option(
    "compare on this many samples, drawn by --seed",
    COUNT,
    4,
    least=1,
    takes="a number",
    example="4",
)

IOS = Option(
    "the oldest system that runs it: 17 or 18 (macOS 14 or 15)",
    WHOLE,
    18,
    takes="17 or 18",
    example="18",
)
PRECISION = Option(
    "what the program computes in: float16 or float32",
    PLAIN,
    "float16",
    takes="float16 or float32",
    example="float16",
)
IMAGE_INPUT = Option(
    "the input is an image, whose pixels become values as --preprocess says",
    SWITCH,
    False,
    ("--image-input",),
    takes="true or false",
    example="false",
)
WEIGHTS_ONLY = Option(
    "of a float model: int8, int4 in blocks, or palette2 to palette8",
    TEXT,
    metavar="KIND",
    takes="a name",
    example="palette4",
)
PIXELS = Option(
    "of images in --data, and of --image-input: a preset or FILE.yaml",
    TEXT,
    takes="a path or a preset",
    example="imagenet",
)
CLASSES = Option(
    "a text file with one class label a line: the program is a classifier",
    PATH,
    None,
    ("--labels",),
    metavar="FILE",
    takes="a path",
    example="labels.txt",
)
FIXED = Option(
    "of an input whose axes the model leaves free, ? where one stays so; repeatable",
    SHAPES,
    metavar="NAME=1x3x224x224",
    takes="a mapping",
    example="{input: [1, 3, 224, 224]}",
)
OPERATORS = Option(
    "integer operators of the file: microsoft (onnxruntime's too) or onnx (ONNX's own alone);"
    " --to qoperator",
    TEXT,
    "microsoft",
    takes="microsoft or onnx",
    example="microsoft",
)
PLATFORM = Option(
    "where it runs: x86 (int8 activations become uint8) or arm (they stay); --to qoperator",
    TEXT,
    "x86",
    takes="x86 or arm",
    example="x86",
)
