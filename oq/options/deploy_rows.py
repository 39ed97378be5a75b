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
    "samples on which the written file is compared: as for oq quantize",
    TEXT,
    "random",
    ("--data", "-d"),
    metavar="DATA",
    takes="a path",
    example="eval.npz",
)
PROFILE = "trt: {} shape of an input with free axes; ? takes a default; repeatable"
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
    "compare on this many samples, drawn at random",
    COUNT,
    4,
    least=1,
    takes="a number",
    example="4",
)

IOS = Option(
    "coreml: the oldest iOS that runs it, 17 or 18 (macOS 14 or 15)",
    WHOLE,
    18,
    takes="17 or 18",
    example="18",
)
PRECISION = Option(
    "coreml: compute precision, float16 or float32",
    PLAIN,
    "float16",
    takes="float16 or float32",
    example="float16",
)
IMAGE_INPUT = Option(
    "coreml: the input is an image, preprocessed as --preprocess says",
    SWITCH,
    False,
    ("--image-input",),
    takes="true or false",
    example="false",
)
WEIGHTS_ONLY = Option(
    "coreml: compress the weights of a float model: int8, int4 in blocks, palette2 to palette8",
    TEXT,
    metavar="KIND",
    takes="a name",
    example="palette4",
)
PIXELS = Option(
    "preprocessing of images in --data and of --image-input: a preset or FILE.yaml",
    TEXT,
    metavar="NAME",
    takes="a path or a preset",
    example="imagenet",
)
CLASSES = Option(
    "coreml: make a classifier, with the class labels of this text file, one per line",
    PATH,
    None,
    ("--labels",),
    metavar="FILE",
    takes="a path",
    example="labels.txt",
)
FIXED = Option(
    "fix the free axes of an input; ? leaves an axis free; repeatable",
    SHAPES,
    metavar="NAME=1x3x224x224",
    takes="a mapping",
    example="{input: [1, 3, 224, 224]}",
)
OPERATORS = Option(
    "qoperator: integer operators of onnxruntime too (microsoft), or of ONNX alone (onnx)",
    TEXT,
    "microsoft",
    metavar="NAME",
    takes="microsoft or onnx",
    example="microsoft",
)
PLATFORM = Option(
    "qoperator: where it runs, x86 (int8 activations become uint8) or arm (they stay)",
    TEXT,
    "x86",
    metavar="NAME",
    takes="x86 or arm",
    example="x86",
)
