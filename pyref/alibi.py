"""The slopes of ALiBi, attention with linear biases (Press et al. 2022)."""


def slopes(H: int) -> list[float]:
    """Return the slope of each head: a geometric sequence that starts at its own ratio and ends at 2^-8.

    For a number of heads that is no power of two, the paper's code takes the sequence for the next smaller
    power, and then every other slope of the next larger one.
    """
    power = 2 ** (H.bit_length() - 1)
    if power == H:
        return [2 ** (-8 * (h + 1) / H) for h in range(H)]
    return slopes(power) + slopes(2 * power)[::2][: H - power]
