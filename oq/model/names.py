"""New names, unique among those that are taken."""


def claim_name(wish: str, taken: set[str]) -> str:
    """``wish``, or ``wish_2``, ``wish_3`` ... if it is in ``taken``, where the name is put.

    >>> claim_name("x", {"x", "x_2"})
    'x_3'
    """
    name, count = wish, 1
    while name in taken:
        count += 1
        name = f"{wish}_{count}"
    taken.add(name)
    return name
