"""The slopes of ALiBi, attention with linear biases (Press et al., 2022)."""


def slopes(num_heads: int) -> list[float]:
    """Return one slope per head: a geometric sequence that begins at its ratio and ends at 2^-8.

    For a number of heads between two powers of two, the paper's code takes the sequence of the
    smaller power, then every other slope of the larger power.
    """
    power = 2 ** (num_heads.bit_length() - 1)
    if power == num_heads:
        return [2 ** (-8 * (h + 1) / num_heads) for h in range(num_heads)]
    return slopes(power) + slopes(2 * power)[::2][: num_heads - power]
