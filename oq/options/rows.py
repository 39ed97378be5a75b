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

    @property
    def once(self) -> str:
        """The meaning where nothing is given several times: in Python and in a config file."""
        return self.meaning.removesuffix("; repeatable")


TARGET = Option(
    "the runtime or device that will run the file: see oq targets",
    TEXT,
    metavar="NAME",
    flags=("--target", "-t"),
    takes="a name",
    example="trt",
)
DATA = Option(
    "samples: .npz, .npy, a folder, package.module:callable, or random",
    TEXT,
    metavar="DATA",
    flags=("--data", "-d"),
    takes="a path",
    example="calib.npz",
)
RENAME = Option(
    "feed INPUT from this ARRAY of the data; labels=ARRAY names the labels; repeatable",
    RENAMES,
    metavar="INPUT=ARRAY",
    takes="a mapping",
    example="{input: x, labels: y}",
)
MAX_DROP = Option(
    "the largest loss allowed, in points of top-1 or in units of --metric: layers stay in float"
    " until it is met; else exit 1",
    AMOUNT,
    metavar="POINTS",
    least=0,
    takes="points",
    example="1.0",
)
PREPROCESS = Option(
    "preprocessing of images: imagenet, imagenet-tf, raw, unit, or FILE.yaml",
    TEXT,
    metavar="NAME",
    takes="a path or a preset",
    example="imagenet",
)
SHAPE = Option(
    "fix the free axes of an input; ? leaves an axis free; repeatable",
    SHAPES,
    metavar="NAME=1x3x224x224",
    takes="a mapping",
    example="{input: [1, 3, 224, 224]}",
)
SAMPLES = Option(
    "use this many samples, drawn at random", COUNT, least=1, takes="a number", example="512"
)
SEED = Option("random seed of --samples", WHOLE, 0, takes="a number", example="0")
PROVIDER = Option(
    "execution provider of onnxruntime: cpu, cuda, ...",
    PLAIN,
    "cpu",
    metavar="NAME",
    takes="a name",
    example="cpu",
)
LABELS = Option(
    "labels of a folder of images: a CSV file with rows file,label",
    PATH,
    metavar="FILE.csv",
    takes="a path",
    example="labels.csv",
)
REPORT = Option(
    "write the report as a page (.html), or its content (.json)",
    FILE,
    metavar="FILE",
    takes="a path",
    example="report.html",
)
RANKING = Option(
    "show this ranking, written by oq sensitivity -o, in the report",
    FILE,
    metavar="FILE.json",
    takes="a path",
    example="ranking.json",
)
BATCH_SIZE = Option(
    "samples per run, within --max-memory; default: what fits the CPU cache",
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
    "set an option of the target or of a calibrator; repeatable",
    KEY_VALUES,
    flags=("--set",),
    metavar="KEY=VALUE",
    takes="a mapping",
    example="{mse.steps: 32}",
)
CALIBRATOR_FOR = Option(
    "a calibrator for single tensors, layers or ops, by name; repeatable",
    CHOICES,
    default=(),
    metavar="GLOB=NAME",
    takes="glob: name",
    example="{'Conv': mse}",
)
WEIGHTS = Option(
    "how ranges of weights are chosen: max or mse; default: the target's",
    TEXT,
    metavar="NAME",
    takes="max or mse",
    example="max",
)
KEEP_FLOAT = Option(
    "keep nodes in float, by name; repeatable",
    TEXTS,
    default=(),
    metavar="GLOB",
    takes="a list of globs",
    example="['/head/*']",
)
HOW_FAR = Option(
    "naive: quantize all that the target can run in int8; hybrid: without layers that would be"
    " slower; selective: only those of --layer",
    MODE,
    metavar="NAME",
    default="hybrid",
    takes="naive or hybrid or selective",
    example="hybrid",
)
LAYER = Option(
    "dtype, symmetric, weights, per_channel or calibrator of layers, by name; repeatable",
    LAYERS,
    default=(),
    flags=("--layer",),
    metavar="GLOB:KEY=VALUE,..",
    takes="a list",
    example="[{match: 'Conv_0', dtype: float}]",
)
RANGES = Option(
    "take ranges from a JSON file or a TensorRT calibration table",
    FILE,
    takes="a path",
    example="ranges.json",
)
CACHE = Option(
    "keep calibration statistics in this file, and resume from it",
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
    "memory limit for the tensors of one batch: batches are made smaller to fit; default: 1000",
    COUNT,
    metavar="MB",
    least=1,
    takes="MB",
    example="500",
)
FORM = Option(
    "qdq, or integer operators in place of Q/DQ: qoperator (target ort)",
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
    metavar="ADDRESS",
)
SHARD = Option(
    "calibrate one part of the samples, for --merge: 3/16 is the third of sixteen",
    TEXT,
    metavar="NUMBER/OF",
)
WATCH = Option("a function called with a stage, what is done of it, and the total")


EXAMPLE_INPUTS = Option("the inputs with which a torch module is exported")
METRIC = Option(
    "what --max-drop limits: top1, top5, miou, boxes, text, embedding, cosine or "
    "package.module:callable; default: top-1",
    TEXT,
    metavar="NAME",
    takes="a name",
    example="miou",
)
EVAL_DATA = Option(
    "labelled data for --max-drop; default: agreement with the float model",
    TEXT,
    metavar="DATA",
    takes="a path",
    example="eval.npz",
)
TIME_LIMIT = Option(
    "stop the search for --max-drop after this long; its first file is always finished",
    AMOUNT,
    metavar="SECONDS",
    least=0,
    takes="seconds",
    example="600",
)
VERIFY_BATCH = Option("samples per run, within --max-memory", WHOLE, 8, least=1)
METRICS = Option(
    "measure top1, top5, miou, boxes, text, embedding, cosine, sqnr or package.module:callable;"
    " repeatable",
    TEXTS,
    default=(),
    flags=("--metric",),
    metavar="NAME",
)
PER_LAYER = Option(
    "show where the error arises, tensor by tensor", SWITCH, default=False, flags=("--per-layer",)
)
ENGINE = Option(
    "what runs QUANT: onnxruntime, openvino (CPU plugin), dpu (simulated)", TEXT, metavar="NAME"
)
RUN_AS = Option(
    "run QUANT as this target does; default: the target in its metadata",
    TEXT,
    None,
    ("--target", "-t"),
    metavar="NAME",
)
LATENCY = Option(
    "measure the time of both models; default: if the engine is the target's own runtime",
    CHOICE,
    flags=("--latency/--no-latency",),
)
LIMIT = Option(
    "the largest loss allowed, in points of top-1 or in units of --metric; else exit 1",
    AMOUNT,
    metavar="POINTS",
)

EPOCHS = Option(
    "passes over the data; default: enough for 10,000 samples",
    COUNT,
    least=1,
    takes="a number",
    example="40",
)
MINUTES = Option(
    "limit on the training time: as many epochs as fit, judging by the first steps",
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
    "initial learning rate, in quantization steps of a weight; default: 0.001, 0.005 for 4 bits",
    AMOUNT,
    least=0,
    metavar="NUMBER",
    takes="a number",
    example="0.001",
)
LOSS = Option(
    "training loss: mse or kl against the float model, or labels; default: mse, labels with"
    " --labels",
    TEXT,
    metavar="NAME",
    takes="mse or kl or labels",
    example="mse",
)
AUGMENT = Option(
    "augmentation of images: none, flip or crop", PLAIN, "none", takes="a name", example="crop"
)
SCALES = Option(
    "whether scales are frozen or learned",
    PLAIN,
    "frozen",
    takes="frozen or learned",
    example="learned",
)
