"""Recurrent layers in PyTorch: one layer in one direction, over (time, batch, features)."""

import torch

STANDARD = {"lstm": "ifgo", "gru": "rzn"}


def arranged(weights: list, gates: str, standard: str) -> list:
    """Return weights and biases with their gates in PyTorch's order."""
    if gates == standard:
        return weights
    return [
        None if w is None else torch.cat([w.chunk(len(gates))[gates.index(gate)] for gate in standard])
        for w in weights
    ]


def started(state: torch.Tensor | None, x: torch.Tensor, width: int) -> torch.Tensor:
    """Return a state with a dimension for the layer, zero if it is absent."""
    return x.new_zeros(1, x.shape[1], width) if state is None else state[None]


def biased(weights: list) -> tuple[list, bool]:
    """Return the weights without absent biases, and whether there are biases."""
    present = [w for w in weights if w is not None]
    return present, len(present) == 4


def lstm(x, hidden, cells, *weights, gates, reverse):
    """Return the hidden states of an LSTM."""
    width = weights[1].shape[1]
    states = (started(hidden, x, width), started(cells, x, width))
    params, biases = biased(arranged(list(weights), gates, STANDARD["lstm"]))
    x = x.flip(0) if reverse else x
    result = torch.lstm(x, states, params, biases, 1, 0.0, False, False, False)[0]
    return result.flip(0) if reverse else result


def lstm_cells(x, hidden, cells, *weights, gates, reverse):
    """Return the cells of an LSTM after each step, by runs of one step."""
    width = weights[1].shape[1]
    hidden, cells = started(hidden, x, width), started(cells, x, width)
    params, biases = biased(arranged(list(weights), gates, STANDARD["lstm"]))
    steps = []
    for step in x.flip(0) if reverse else x:
        _, hidden, cells = torch.lstm(
            step[None], (hidden, cells), params, biases, 1, 0.0, False, False, False
        )
        steps.append(cells)
    return torch.cat(steps[::-1] if reverse else steps)


def gru(x, hidden, *weights, gates, reset, reverse):
    """Return the hidden states of a GRU. `reset` tells where the reset gate acts.

    After the product, as in PyTorch, it scales W h + b. Before, it scales h.
    """
    weights = arranged(list(weights), gates, STANDARD["gru"])
    width = weights[1].shape[1]
    x = x.flip(0) if reverse else x
    if reset == "after":
        params, biases = biased(weights)
        result = torch.gru(x, started(hidden, x, width), params, biases, 1, 0.0, False, False, False)[0]
    else:
        result = gru_reset_before(x, started(hidden, x, width)[0], *weights)
    return result.flip(0) if reverse else result


def gru_reset_before(x, hidden, w_input, w_hidden, b_input, b_hidden):
    """Return the hidden states of a GRU whose reset gate scales the hidden state."""
    b_input = 0.0 if b_input is None else b_input
    u = [torch.zeros(())] * 3 if b_hidden is None else b_hidden.chunk(3)
    w = w_hidden.chunk(3)
    steps = []
    for step in x @ w_input.T + b_input:
        r, z, n = step.chunk(3, -1)
        r, z = torch.sigmoid(r + hidden @ w[0].T + u[0]), torch.sigmoid(z + hidden @ w[1].T + u[1])
        n = torch.tanh(n + (r * hidden) @ w[2].T + u[2])
        hidden = (1 - z) * n + z * hidden
        steps.append(hidden)
    return torch.stack(steps)


def rnn(x, hidden, *weights, function, reverse):
    """Return the hidden states of a plain recurrent layer."""
    params, biases = biased(list(weights))
    x = x.flip(0) if reverse else x
    run = {"tanh": torch.rnn_tanh, "relu": torch.rnn_relu}[function]
    start = started(hidden, x, weights[1].shape[1])
    result = run(x, start, params, biases, 1, 0.0, False, False, False)[0]
    return result.flip(0) if reverse else result
