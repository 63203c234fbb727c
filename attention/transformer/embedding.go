package transformer

import (
	"fmt"

	"github.com/difftest/difftest/attention"
)

// embedding is a table (rows, D) of learned vectors: torch.nn.Embedding.
type embedding struct{ table *attention.Tensor }

// row returns row i, (D).
func (e *embedding) row(i int) []float32 {
	d := e.table.Shape[1]
	return e.table.Data[i*d:][:d]
}

// check returns an error unless ids are (B, T) indices of rows.
func (e *embedding) check(name string, ids [][]int, batch, tokens int) error {
	if err := checkRows(name, ids, batch, tokens); err != nil {
		return err
	}
	rows := e.table.Shape[0]
	for b, row := range ids {
		for t, id := range row {
			if id < 0 || id >= rows {
				return fmt.Errorf("%s: element (%d, %d) is %d, want 0 to %d", name, b, t, id, rows-1)
			}
		}
	}
	return nil
}

// checkRows returns an error unless ids are (B, T).
func checkRows(name string, ids [][]int, batch, tokens int) error {
	if len(ids) != batch {
		return fmt.Errorf("%s: %d rows, want %d", name, len(ids), batch)
	}
	for b, row := range ids {
		if len(row) != tokens {
			return fmt.Errorf("%s: row %d has %d tokens, want %d", name, b, len(row), tokens)
		}
	}
	return nil
}

// embeddings turn tokens into vectors.
type embeddings struct {
	tokens    *embedding // (V, D)
	scale     float64    // of the tokens' vectors: sqrt(D) in Gemma, 1 elsewhere
	positions *embedding // learned positions, nil for none
	types     *embedding // token types, nil for none
	norm      *norm      // of the sum, nil for none
}

// lookUp is pass 1: the scaled vector of each token, (B, T) -> (B, T, D).
func (e *embeddings) lookUp(ids [][]int) *attention.Tensor {
	d, tokens := e.tokens.table.Shape[1], len(ids[0])
	x := attention.NewTensor(len(ids), tokens, d)
	for b, row := range ids {
		for t, id := range row {
			to := x.Data[(b*tokens+t)*d:][:d]
			for i, v := range e.tokens.row(id) {
				to[i] = float32(float64(v) * e.scale)
			}
		}
	}
	return x
}

// place is pass 2: token types and positions are added, and the sum is normalized. types (B, T) is
// nil if every token is of type 0.
func (e *embeddings) place(x *attention.Tensor, types [][]int) *attention.Tensor {
	batch, tokens, d := x.Shape[0], x.Shape[1], x.Shape[2]
	for row := range batch * tokens {
		b, t := row/tokens, row%tokens
		to := x.Data[row*d:][:d]
		if e.types != nil {
			kind := 0
			if types != nil {
				kind = types[b][t]
			}
			add(to, e.types.row(kind))
		}
		if e.positions != nil {
			add(to, e.positions.row(t))
		}
	}
	return e.norm.forward(x)
}

// add adds y to x in place.
func add(x, y []float32) {
	for i, v := range y {
		x[i] += v
	}
}
