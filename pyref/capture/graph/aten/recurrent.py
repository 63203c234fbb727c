"""LSTM, GRU and RNN. A node is one layer in one direction, over (time, batch, features)."""

from pyref.capture.graph.aten.arguments import Converted, Converter, Part, refuse, shape_of

STATES = {"lstm": 2, "gru": 1, "rnn": 1}


def recurrent(op: str, result: int, settings: dict) -> Converter:
    """Return a converter of one result: the outputs, the last hidden states or the last cells."""

    def converter(a: dict, shape: list[int]) -> list[Converted]:
        refuse(f"{op} of a packed sequence", "input" not in a or "data" in a)
        refuse(f"{op} with dropout", a["train"] and a["dropout"])
        each = 4 if a["has_biases"] else 2
        count = a["num_layers"] * (2 if a["bidirectional"] else 1)
        refuse(f"{op} with a projection", len(a["params"]) != each * count)
        return Layers(op, a, settings).result(result)

    return converter


class Layers:
    """The nodes of a stack of recurrent layers."""

    def __init__(self, op: str, a: dict, settings: dict):
        """Build every layer, each on the outputs of the one before."""
        self.op, self.a, self.settings = op, a, settings
        self.nodes: list[Converted] = []
        self.directions = 2 if a["bidirectional"] else 1
        x = a["input"]
        self.steps = shape_of(x)[1 if a["batch_first"] else 0]
        if a["batch_first"]:
            x = self.add("permute", [x], dims=[1, 0, 2])
        self.outputs: list[list[object]] = []
        for layer in range(a["num_layers"]):
            self.outputs.append([self.layer(layer, d, x) for d in range(self.directions)])
            x = self.joined(self.outputs[-1])
        self.last = x

    def add(self, op: str, operands: list, **attributes: object) -> Part:
        """Add a node."""
        self.nodes.append((op, operands, attributes))
        return Part(len(self.nodes) - 1)

    def joined(self, outputs: list[Part]) -> Part:
        """Return the outputs of both directions side by side, or of the only one."""
        return outputs[0] if len(outputs) == 1 else self.add("cat", outputs, dim=2)

    def layer(self, layer: int, direction: int, x: object) -> Part:
        """Add one layer in one direction."""
        a, place = self.a, layer * self.directions + direction
        states = a["hx"] if STATES[self.op] == 2 else [a["hx"]]
        starts = [self.add("select", [state], dim=0, index=place) for state in states]
        each = 4 if a["has_biases"] else 2
        weights = list(a["params"][place * each : (place + 1) * each]) + [None] * (4 - each)
        return self.add(self.op, [x, *starts, *weights], **self.settings, reverse=direction == 1)

    def result(self, result: int) -> list[Converted]:
        """Return the nodes for one result."""
        if result == 0:
            if self.a["batch_first"]:
                self.add("permute", [self.last], dims=[1, 0, 2])
            elif self.directions == 1:
                return [*self.nodes, ("same", [self.last], {})]
            return self.nodes
        finals = []
        for outputs in self.outputs:
            for direction, output in enumerate(outputs):
                if result == 2:
                    output = self.cells(output)
                step = 0 if direction == 1 else self.steps - 1
                finals.append(self.add("slice", [output], dim=0, start=step, stop=step + 1, step=1))
        if len(finals) > 1:
            self.add("cat", finals, dim=0)
        return self.nodes

    def cells(self, output: Part) -> Part:
        """Add the node that gives the cells of a layer instead of its hidden states."""
        _, operands, attributes = self.nodes[output.place]
        return self.add("lstm_cells", operands, **attributes)


OPERATORS = {
    "lstm": ("lstm", {"gates": "ifgo"}),
    "gru": ("gru", {"gates": "rzn", "reset": "after"}),
    "rnn_tanh": ("rnn", {"function": "tanh"}),
    "rnn_relu": ("rnn", {"function": "relu"}),
}

RESULTS: dict[tuple[str, int], Converter] = {
    (aten, result): recurrent(op, result, settings)
    for aten, (op, settings) in OPERATORS.items()
    for result in range(1 + STATES[op])
}
