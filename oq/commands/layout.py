"""How ``--help`` lists the flags of a command: in groups, those that many never need last."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from typer.core import TyperCommand

GROUPS: Mapping[str, Sequence[str]] = {
    "Input": (
        *("target", "data", "rename", "preprocess", "shape", "samples", "seed", "batch_size"),
        *("labels", "config", "shard", "merge"),
    ),
    "Ranges": (
        *("calibrator", "calibrator_for", "weights", "ranges", "save_ranges", "cache", "settings"),
    ),
    "Layers": ("keep_float", "layers", "mode", "refine"),
    "Training": ("epochs", "minutes", "train_batch", "lr", "loss", "augment", "scales"),
    "Accuracy": (
        *("max_drop", "metric", "metrics", "eval_data", "time_limit", "verify", "per_layer"),
        *("engine", "latency"),
    ),
    "Format": (
        *("min_shape", "opt_shape", "max_shape", "operators", "platform", "ios", "precision"),
        *("weights_only", "image_input"),
    ),
    "Output": (
        "to",
        "output",
        "format",
        "form",
        "plot",
        "report",
        "ranking",
        "as_json",
        "quiet",
        "verbose",
    ),
}
"""Heading -> names of parameters; what is in none of them stands under "Other"."""

FEW = 12
"""Flags that need no groups."""


class Grouped(TyperCommand):
    """A command whose help has a heading per group of flags, where there are many."""

    groups: ClassVar[Mapping[str, Sequence[str]]] = GROUPS

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """As click's, without the braces that newer versions of typer put around a required
        argument."""
        return [p.replace("{", "").replace("}", "") for p in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """As click's, with several headings."""
        records = {p.name: p.get_help_record(ctx) for p in self.get_params(ctx)
                   if p.param_type_name == "option"}  # fmt: skip
        shown = {name: record for name, record in records.items() if record is not None}
        if len(shown) <= FEW:
            super().format_options(ctx, formatter)
            return
        for heading, names in (*self.groups.items(), ("Other", tuple(shown))):
            rows = [shown.pop(name) for name in names if name in shown]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
