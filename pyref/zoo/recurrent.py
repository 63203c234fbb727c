"""Recurrent layers, alone and one after the other."""

from pyref.build.pinned_torch import torch

nn = torch.nn
Tensor = torch.Tensor


class LSTM(nn.Module):
    """Two layers of an LSTM in both directions, with states that are given."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 4, num_layers=2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, hidden: Tensor, cells: Tensor) -> Tensor:
        """Return the states (B, T, 8) of the last layer."""
        return self.lstm(x, (hidden, cells))[0]


class LSTMOneWay(nn.Module):
    """An LSTM over (T, B, features), with states that are given, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 7), nn.Linear(7, 4)

    def forward(self, x: Tensor, hidden: Tensor, cells: Tensor) -> Tensor:
        """Return the logits (T, B, 4)."""
        return self.head(self.lstm(x, (hidden, cells))[0])


class GRU(nn.Module):
    """Two layers of a GRU in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 6, num_layers=2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Return the states (B, T, 12) of the last layer."""
        return self.gru(x, hidden)[0]


class RNN(nn.Module):
    """A plain recurrent layer with tanh, in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(5, 6, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the states (B, T, 12)."""
        return self.rnn(x)[0]


class Tagger(nn.Module):
    """Tokens through an LSTM in both directions, a GRU and a plain layer to labels."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(31, 6)
        self.lstm = nn.LSTM(6, 5, batch_first=True, bidirectional=True)
        self.gru, self.rnn = nn.GRU(10, 7, batch_first=True), nn.RNN(7, 6, batch_first=True)
        self.head = nn.Linear(6, 4)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return the logits (B, T, 4)."""
        x = self.lstm(self.embedding(input_ids))[0]
        return self.head(self.rnn(self.gru(x)[0])[0])
