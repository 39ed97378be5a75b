"""``oq quantize --format``: the file as Q/DQ, or in integer operators."""

from dataclasses import replace

from oq.data.source import Fitted
from oq.deployment.qoperator.prove import prove
from oq.deployment.qoperator.write import FORMAT, convert_checked
from oq.emission.write import Written
from oq.errors import OptionError
from oq.planning.target import Target

QDQ = "qdq"
FORMS = (QDQ, FORMAT.name)

WRITTEN = "the file holds integer operators in place of Q/DQ: {kernels}"


def check_form(form: str, target: Target) -> None:
    """Refuse a ``form`` that ``target`` does not have.

    Raises:
        OptionError: there is no such form, or it is that of another target.
    """
    if form not in FORMS:
        raise OptionError(f"--format {form!r} is unknown; available: {', '.join(FORMS)}")
    if form == QDQ:
        return
    if target.name != FORMAT.target:
        raise OptionError(
            f"--format {form} is for target {FORMAT.target}; a file for {target.name} is Q/DQ"
        )
    if target.block is not None or target.at_run_time:
        raise OptionError(
            f"--format {form} needs calibrated activations: it cannot be combined with "
            "weights=int4, weights=int8 or dynamic=on"
        )


def in_form(written: Written, form: str, samples: Fitted | None) -> Written:
    """``written`` in ``form``, compared with the Q/DQ on the first sample that can be read again.

    Raises:
        ModelError: no operator of it has an integer form.
        RuntimeError: the two differ, which is a fault of oq.
    """
    if form == QDQ:
        return written
    # int8 activations are there by the target's choice: they are for ARM
    made = convert_checked(written.model, "microsoft", "arm")
    if samples is not None and samples.count is not None:
        first = next(iter(samples.batches(1)))
        for proof in prove(written.model, made.model, lambda: [first]):
            if not proof.passed:
                raise RuntimeError(f"integer operators differ: {proof.what}: {proof.figures}")
    kernels = ", ".join(f"{n} {op}" for op, n in sorted(made.count().items()))
    return replace(
        written, model=made.model, notes=(*written.notes, WRITTEN.format(kernels=kernels))
    )
