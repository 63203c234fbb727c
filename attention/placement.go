package attention

// Placement tells where a state dict holds one projection of a layer. The projection's own weight
// is (out, in) and its own bias (out), as in torch.nn.Linear.
//
// Several projections may share one tensor: nn.MultiheadAttention stacks query, key and value in
// in_proj_weight (3*D, D). Part then names the projection's share, and Row finds it.
type Placement struct {
	// Weight and Bias are the names of the tensors, with the prefix. Bias is empty if the
	// layout names no biases, but not if the configuration leaves biases out.
	Weight, Bias string
	// Part and BiasPart are "query part", "key part" or "value part" where the tensor holds
	// several projections, and empty where the tensor holds one.
	Part, BiasPart string
	// Row maps row i of the projection to the row of the weight tensor. BiasRow maps element i of
	// the projection's bias to the element of the bias tensor. nil means the same.
	Row, BiasRow func(i int) int
	// InOut reports that the weight tensor is (in, out), so that Row counts its columns.
	InOut bool
}

// Placements tells where a state dict holds the query, key, value and output projections of a
// layer with this configuration, in this order.
//
// A configuration that [Config.Check] refuses has placements too, but Row and BiasRow may be nil or
// lead outside the tensor. The placements of an unknown ParamLayout are empty.
func (c Config) Placements() [4]Placement {
	l, known := layouts[c.ParamLayout]
	if !known {
		return [4]Placement{}
	}
	all := l.placements(c.withDefaults())
	for i := range all {
		all[i].Weight = c.Prefix + all[i].Weight
		if all[i].Bias != "" {
			all[i].Bias = c.Prefix + all[i].Bias
		}
	}
	return all
}

// weight returns the projection's weight (out, in) from the tensor that holds it. The result is
// part of the tensor if its rows stand there side by side, and a copy otherwise.
func (p Placement) weight(stored *Tensor, in, out int) []float32 {
	if p.Row == nil && !p.InOut {
		return stored.Data[:out*in]
	}
	weight := make([]float32, 0, in*out)
	for o := range out {
		row := mapped(p.Row, o)
		if !p.InOut {
			weight = append(weight, stored.Data[row*in:][:in]...)
			continue
		}
		for i := range in {
			weight = append(weight, stored.Data[i*stored.Shape[1]+row])
		}
	}
	return weight
}

// bias gathers the projection's bias (out) from the tensor that holds it, nil without one.
func (p Placement) bias(stored *Tensor, out int) []float32 {
	if stored == nil {
		return nil
	}
	bias := make([]float32, out)
	for o := range bias {
		bias[o] = stored.Data[mapped(p.BiasRow, o)]
	}
	return bias
}

// mapped applies a Row or BiasRow.
func mapped(row func(int) int, i int) int {
	if row == nil {
		return i
	}
	return row(i)
}

// parts names the shares of query, key and value in a tensor.
var parts = [3]string{"query part", "key part", "value part"}

// shared places query, key and value in one tensor, each at its own rows.
func shared(weight, bias string, rows [3]func(int) int, output Placement) [4]Placement {
	all := [4]Placement{3: output}
	for i, part := range parts {
		all[i] = Placement{
			Weight: weight, Part: part, Row: rows[i],
			Bias: bias, BiasPart: part, BiasRow: rows[i],
		}
	}
	return all
}

// linear places a projection in tensors of its own, under the names that torch.nn.Linear gives.
func linear(name string) Placement {
	return Placement{Weight: name + ".weight", Bias: name + ".bias"}
}

// stackedRows finds query, key and value in a tensor that holds them in this order.
func (c Config) stackedRows() [3]func(int) int {
	query, key := c.projectionWidths()
	after := func(first int) func(int) int {
		return func(i int) int { return first + i }
	}
	return [3]func(int) int{after(0), after(query), after(query + key)}
}

// groupedRows finds query, key and value in a tensor that holds one key head after another: its
// H/Hk query heads, its key and its value, E rows each. The functions are nil if E or H/Hk is 0.
func (c Config) groupedRows() [3]func(int) int {
	e := c.HeadDim
	if e <= 0 || c.NumKVHeads <= 0 || c.NumHeads < c.NumKVHeads {
		return [3]func(int) int{}
	}
	group := c.NumHeads / c.NumKVHeads
	at := func(kvHead, member, i int) int { return (kvHead*(group+2)+member)*e + i%e }
	return [3]func(int) int{
		func(i int) int { return at(i/e/group, i/e%group, i) },
		func(i int) int { return at(i/e, group, i) },
		func(i int) int { return at(i/e, group+1, i) },
	}
}

func torchPlacements(c Config) [4]Placement {
	all := shared("in_proj_weight", "in_proj_bias", c.stackedRows(), linear("out_proj"))
	if c.packed() {
		return all
	}
	for i, weight := range [3]string{"q_proj_weight", "k_proj_weight", "v_proj_weight"} {
		all[i].Weight, all[i].Part, all[i].Row = weight, "", nil
	}
	return all
}

func seedPlacements(Config) [4]Placement {
	return [4]Placement{{Weight: "W_Q"}, {Weight: "W_K"}, {Weight: "W_V"}, {Weight: "W_O"}}
}

func llamaPlacements(Config) [4]Placement {
	return [4]Placement{linear("q_proj"), linear("k_proj"), linear("v_proj"), linear("o_proj")}
}

func gpt2Placements(c Config) [4]Placement {
	all := shared("c_attn.weight", "c_attn.bias", c.stackedRows(), linear("c_proj"))
	for i := range all {
		all[i].InOut = true
	}
	return all
}

func neoxPlacements(c Config) [4]Placement {
	return shared("query_key_value.weight", "query_key_value.bias", c.groupedRows(), linear("dense"))
}

func fusedPlacements(c Config) [4]Placement {
	return shared("qkv_proj.weight", "qkv_proj.bias", c.stackedRows(), linear("o_proj"))
}
