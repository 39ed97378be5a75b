"""What an archive of torch holds, for ``oq inspect``: the same of both kinds."""

from collections import Counter
from collections.abc import Mapping

from torch import Tensor

from oq.artifacts.artifact import Contents
from oq.artifacts.torchfiles.archive import Archive, Said
from oq.artifacts.torchfiles.grids import Flow


def contents_of(
    form: str, archive: Archive, said: Said, flow: Flow, constants: Mapping[str, Tensor]
) -> Contents:
    """Of the file ``archive`` of the format ``form``: what it says of itself, its graph and its
    ``constants``, whose bytes are counted by type, most first."""
    sizes: Counter[str] = Counter()
    for tensor in constants.values():
        name = str(tensor.dtype).removeprefix("torch.")
        sizes[name] += tensor.numel() * tensor.element_size()
    return Contents(
        form,
        archive.path.stat().st_size,
        facts=said.facts,
        inputs=said.inputs,
        outputs=said.outputs,
        ops=dict(sorted(Counter(call.op for call in flow.calls).items())),
        activations=tuple(flow.activations()),
        weights=tuple(flow.weights()),
        constants=dict(sizes.most_common()),
    )
