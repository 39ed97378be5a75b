"""The flags that several commands share, each defined once."""

from pathlib import Path
from typing import Annotated

import typer

ModelArg = Annotated[Path, typer.Argument(metavar="MODEL.onnx", show_default=False)]
TargetOpt = Annotated[str, typer.Option("--target", "-t", help="see oq targets")]
DataOpt = Annotated[
    str, typer.Option("--data", "-d", help=".npz, .npy, a folder, or package.module:callable")
]
JsonOpt = Annotated[bool, typer.Option("--json", help="one JSON document on standard output")]
SamplesOpt = Annotated[int | None, typer.Option("--samples", min=1, help="draw this many")]
BatchOpt = Annotated[int, typer.Option("--batch-size", min=1)]
AutoBatchOpt = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, help="default: what fits the processor's cache"),
]
PreprocessOpt = Annotated[
    str | None, typer.Option("--preprocess", help="FILE.yaml or a preset, for images")
]
ProviderOpt = Annotated[str, typer.Option("--provider", help="cpu, cuda, ...")]
KeepOpt = Annotated[
    list[str] | None, typer.Option("--keep-float", help="glob over node names; repeatable")
]
SeedOpt = Annotated[int, typer.Option("--seed", help="of the draw of --samples")]


CacheOpt = Annotated[
    Path | None,
    typer.Option("--cache", help="keep statistics in this file; resumes"),
]
MemoryOpt = Annotated[
    int | None,
    typer.Option("--max-memory", metavar="MB", min=1, help="of a batch's activations"),
]
