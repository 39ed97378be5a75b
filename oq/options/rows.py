"""The table of options: what each is called, takes and means, once for all that names it."""

from dataclasses import dataclass
from typing import Any

from oq.options.kinds import (
    AMOUNT,
    CHOICE,
    CHOICES,
    COUNT,
    FILE,
    KEY_VALUES,
    LAYERS,
    MODE,
    NAMES,
    PATH,
    PLAIN,
    RENAMES,
    SHAPES,
    SWITCH,
    TEXT,
    TEXTS,
    WHOLE,
    Kind,
)


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    ``meaning``: what ``--help``, the config file and the documentation say.  ``kind`` None: for
    Python only.  ``flags``: its flags, where they are not its name.  ``takes`` and ``example``: of
    the key in a config file; without an example it has no key.
    """

    meaning: str
    kind: Kind | None = None
    default: Any = None
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    least: int | None = None
    takes: str = ""
    example: str = ""


TARGET = Option(
    "what the file is for: see oq targets",
    TEXT,
    metavar="NAME",
    flags=("--target", "-t"),
    takes="a name",
    example="trt",
)
DATA = Option(
    ".npz, .npy, a folder, package.module:callable, or random; an array with one axis more than its"
    " input has one entry per sample in front",
    TEXT,
    flags=("--data", "-d"),
    takes="a path",
    example="calib.npz",
)
RENAME = Option(
    "which array of --data is for an input that has another name, or holds the labels"
    " (labels=ARRAY); a single array is for a single input unasked; repeatable",
    RENAMES,
    metavar="INPUT=ARRAY",
    takes="a mapping",
    example="{input: x, labels: y}",
)
MAX_DROP = Option(
    "points of top-1 that may be lost: layers stay in float until it is met; else exit 1",
    AMOUNT,
    metavar="POINTS",
    least=0,
    takes="points",
    example="1.0",
)
PREPROCESS = Option(
    "how images become inputs: a preset or FILE.yaml",
    TEXT,
    metavar="NAME",
    takes="a path or a preset",
    example="imagenet",
)
SHAPE = Option(
    "the size of an input whose axes the model leaves free, ? where one stays so; the file gets it"
    " too; repeatable",
    SHAPES,
    metavar="NAME=1x3x224x224",
    takes="a mapping",
    example="{input: [1, 3, 224, 224]}",
)
SAMPLES = Option(
    "use this many samples, drawn by --seed", COUNT, least=1, takes="a number", example="512"
)
SEED = Option("what --samples draws by", WHOLE, 0, takes="a number", example="0")
PROVIDER = Option(
    "execution provider of onnxruntime: cpu, cuda, ...",
    PLAIN,
    "cpu",
    metavar="NAME",
    takes="a name",
    example="cpu",
)
LABELS = Option(
    "labels of a folder of images: a CSV file,label",
    PATH,
    metavar="FILE.csv",
    takes="a path",
    example="labels.csv",
)
REPORT = Option(
    "write a page: .html, or its content as .json",
    FILE,
    metavar="FILE",
    takes="a path",
    example="report.html",
)
RANKING = Option(
    "a ranking that oq sensitivity -o wrote, shown on the page of --report",
    FILE,
    metavar="FILE.json",
    takes="a path",
    example="ranking.json",
)
BATCH_SIZE = Option(
    "samples per run, within --max-memory; default: what fits the processor's cache",
    COUNT,
    least=1,
    takes="a number",
    example="8",
)
CALIBRATOR = Option(
    "calibrator of activations: see oq calibrators; default: the target's",
    TEXT,
    metavar="NAME",
    takes="a name",
    example="minmax",
)
SETTINGS = Option(
    "an option of the target, or a calibrator's setting; repeatable",
    KEY_VALUES,
    flags=("--set",),
    metavar="KEY=VALUE",
    takes="a mapping",
    example="{mse.steps: 32}",
)
CALIBRATOR_FOR = Option(
    "a calibrator for tensors, layers or ops; repeatable",
    CHOICES,
    default=(),
    metavar="GLOB=NAME",
    takes="glob: name",
    example="{'Conv': mse}",
)
WEIGHTS = Option(
    "ranges of weights: max or mse; default: the target's",
    TEXT,
    metavar="NAME",
    takes="max or mse",
    example="max",
)
KEEP_FLOAT = Option(
    "nodes that stay in float, by name; repeatable",
    TEXTS,
    default=(),
    metavar="GLOB",
    takes="a list of globs",
    example="['/head/*']",
)
HOW_FAR = Option(
    "naive: all that can run in integers; hybrid: all that pays; selective: --layer alone",
    MODE,
    metavar="NAME",
    default="hybrid",
    takes="naive or hybrid or selective",
    example="hybrid",
)
LAYER = Option(
    "dtype, symmetric, weights, per_channel, calibrator of layers (in a config file,"
    " match is their glob); repeatable",
    LAYERS,
    default=(),
    flags=("--layer",),
    metavar="GLOB:KEY=VALUE,..",
    takes="a list",
    example="[{match: 'Conv_0', dtype: float}]",
)
RANGES = Option(
    "take ranges from JSON or a TensorRT calibration table",
    FILE,
    takes="a path",
    example="ranges.json",
)
CACHE = Option(
    "keep statistics in this file, and go on from it",
    FILE,
    takes="a path",
    example="oq.cache",
)
REFINE = Option(
    "refinement steps to try, or none; default: the target's",
    NAMES,
    metavar="NAME[,NAME]",
    takes="names or none",
    example="[bias]",
)
MAX_MEMORY = Option(
    "limit on the memory of tensors at a time: batches get smaller; default: 1000",
    COUNT,
    metavar="MB",
    least=1,
    takes="MB",
    example="500",
)
FORM = Option(
    "form of the file: qdq, or qoperator (target ort), integer operators in place of Q/DQ",
    TEXT,
    "qdq",
    metavar="NAME",
    takes="qdq or qoperator",
    example="qdq",
)
VERIFY = Option(
    "compare with the float model on held-back samples",
    SWITCH,
    default=True,
    flags=("--verify/--no-verify",),
    takes="true or false",
    example="true",
)
RAY = Option(
    "run on a Ray cluster: HOST:PORT, ray://HOST:PORT, auto, or local for this machine alone",
    TEXT,
    metavar="ADDRESS|local",
)
SHARD = Option(
    "one part of the samples, into a cache of its own, for --merge: 3/16 is the third of sixteen",
    TEXT,
    metavar="NUMBER/OF",
)
WATCH = Option("called with a stage, the samples done and the samples in all")


EXAMPLE_INPUTS = Option("what a torch module is exported with")
METRIC = Option(
    "what --max-drop is of: top1, top5, miou, boxes, text, embedding, cosine or "
    "package.module:callable; default: top-1",
    TEXT,
    metavar="NAME",
    takes="a name",
    example="miou",
)
EVAL_DATA = Option(
    "labelled data for --max-drop; default: agreement with the float model",
    TEXT,
    takes="a path",
    example="eval.npz",
)
TIME_LIMIT = Option(
    "end the search for --max-drop after this long; its first file is always finished",
    AMOUNT,
    metavar="SECONDS",
    least=0,
    takes="seconds",
    example="600",
)
VERIFY_BATCH = Option("samples per run, within --max-memory", WHOLE, 8, least=1)
METRICS = Option(
    "top1, top5, miou, boxes, text, embedding, cosine, sqnr or package.module:callable; repeatable",
    TEXTS,
    default=(),
    flags=("--metric",),
    metavar="NAME",
)
PER_LAYER = Option(
    "where the error is made, tensor by tensor", SWITCH, default=False, flags=("--per-layer",)
)
ENGINE = Option("what runs QUANT: onnxruntime, openvino (CPU plugin), dpu", TEXT, metavar="NAME")
RUN_AS = Option(
    "run QUANT as this target does; default: the one it was made for",
    TEXT,
    None,
    ("--target", "-t"),
)
LATENCY = Option(
    "measure both models' time; default: where the engine is what runs the target's files",
    CHOICE,
    flags=("--latency/--no-latency",),
)
LIMIT = Option("points of top-1 that may be lost; else exit 1", AMOUNT, metavar="POINTS")

EPOCHS = Option(
    "passes over the data; default: as many as make 10,000 samples",
    COUNT,
    least=1,
    takes="a number",
    example="40",
)
MINUTES = Option(
    "of training at most: as many epochs as fit, by the first steps",
    AMOUNT,
    metavar="MINUTES",
    least=0,
    takes="minutes",
    example="10",
)
TRAIN_BATCH = Option(
    "samples per step of training", WHOLE, 16, least=1, takes="a number", example="16"
)
RATE = Option(
    "learning rate at the start, in steps of a weight's grid; default: 0.001, 0.005 for 4 bits",
    AMOUNT,
    least=0,
    metavar="NUMBER",
    takes="a number",
    example="0.001",
)
LOSS = Option(
    "what is made small: mse or kl, to the float model, or labels; default: mse, labels with"
    " --labels",
    TEXT,
    metavar="NAME",
    takes="mse or kl or labels",
    example="mse",
)
AUGMENT = Option(
    "other views of images: none, flip or crop", PLAIN, "none", takes="a name", example="crop"
)
SCALES = Option("frozen or learned", PLAIN, "frozen", takes="frozen or learned", example="learned")
