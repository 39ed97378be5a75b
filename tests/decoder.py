"""A decoder with a past, as exporters write it: two layers, embeddings tied to the last product."""

import numpy as np
import onnx

from oq.numerics.values import Array
from tests.small import small

WIDTH, HEADS, WORDS, LAYERS, INNER = 40, 4, 61, 2, 100
SIZE = WIDTH // HEADS


def decoder() -> onnx.ModelProto:
    """(ids, past keys and values) -> (logits, present keys and values).

    The weight of the last product is the embedding table under a Transpose; both layers share the
    weight ``w1`` of their first feedforward product.  No size is a multiple of 16 but the batch's.
    """
    random = np.random.default_rng(0)
    constants: dict[str, Array] = {
        "words": random.normal(0, 0.5, (WORDS, WIDTH)).astype(np.float32),
        "apart": np.asarray([0, 0, HEADS, SIZE]),
        "joined": np.asarray([0, 0, WIDTH]),
        "factor": np.asarray(SIZE**-0.5, np.float32),
        "ones": np.ones(WIDTH, np.float32),
        "zeros": np.zeros(WIDTH, np.float32),
        "w1": weight(random, WIDTH, INNER),
    }
    body = "x0 = Gather(words, ids)\n"
    for i in range(LAYERS):
        body += layer(i)
        for name in "qkvo":
            constants[f"w{name}{i}"] = weight(random, WIDTH, WIDTH)
        constants[f"bq{i}"] = random.normal(0, 0.1, WIDTH).astype(np.float32)
        constants[f"w2{i}"] = weight(random, INNER, WIDTH)
    body += f"""
        last = LayerNormalization(x{LAYERS}, ones, zeros)
        table = Transpose<perm = [1, 0]>(words)
        logits = MatMul(last, table)"""
    state = f"float[batch,{HEADS},{{}},{SIZE}]"
    past = "".join(f", {state.format('past')} past_{k}{i}" for i in range(LAYERS) for k in "kv")
    present = "".join(f", {state.format('all')} now_{k}{i}" for i in range(LAYERS) for k in "kv")
    return small(
        f"net (int64[batch,seq] ids{past}) => (float[batch,seq,{WORDS}] logits{present})"
        f"{{ {body} }}",
        constants,
    )


def layer(i: int) -> str:
    """Attention over past and present, then the feedforward block."""
    heads = "".join(
        f"""
        {k}h{i} = Reshape({k}m{i}, apart)
        {k}t{i} = Transpose<perm = [0, 2, 1, 3]>({k}h{i})"""
        for k in "qkv"
    )
    return f"""
        a{i} = LayerNormalization(x{i}, ones, zeros)
        qp{i} = MatMul(a{i}, wq{i})
        qm{i} = Add(qp{i}, bq{i})
        km{i} = MatMul(a{i}, wk{i})
        vm{i} = MatMul(a{i}, wv{i}){heads}
        now_k{i} = Concat<axis = 2>(past_k{i}, kt{i})
        now_v{i} = Concat<axis = 2>(past_v{i}, vt{i})
        ku{i} = Transpose<perm = [0, 1, 3, 2]>(now_k{i})
        s{i} = MatMul(qt{i}, ku{i})
        f{i} = Mul(s{i}, factor)
        p{i} = Softmax(f{i})
        m{i} = MatMul(p{i}, now_v{i})
        mt{i} = Transpose<perm = [0, 2, 1, 3]>(m{i})
        mj{i} = Reshape(mt{i}, joined)
        o{i} = MatMul(mj{i}, wo{i})
        y{i} = Add(x{i}, o{i})
        b{i} = LayerNormalization(y{i}, ones, zeros)
        g{i} = MatMul(b{i}, w1)
        r{i} = Relu(g{i})
        h{i} = MatMul(r{i}, w2{i})
        x{i + 1} = Add(y{i}, h{i})
"""


def weight(random: np.random.Generator, rows: int, columns: int) -> Array:
    return random.normal(0, rows**-0.5, (rows, columns)).astype(np.float32)


def no_past(batch: int) -> dict[str, Array]:
    """The states before the first word."""
    empty = np.zeros((batch, HEADS, 0, SIZE), np.float32)
    return {f"past_{k}{i}": empty for i in range(LAYERS) for k in "kv"}


def as_past(outputs: dict[str, Array]) -> dict[str, Array]:
    """What one run leaves to the next."""
    return {f"past_{n[4:]}": v for n, v in outputs.items() if n.startswith("now_")}
