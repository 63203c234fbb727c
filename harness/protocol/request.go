// Package protocol is what an implementation outside this process is told of a case: a folder
// with request.json and the arrays that it names, as .npy files. The folder holds neither the
// expected output nor the name of any mistake.
//
// # request.json
//
// Every field is there in every request; null says none. Words and numbers are those of
// config in case.json, with nothing left to a default.
//
//	version      1
//	case         name of the case: "mha/causal"
//	op           "scaled_dot_product_attention", "multi_head_attention" or "module"
//	precision    type of the inputs and of the output: "float16", "bfloat16", "float32" or "float64"
//	config       below, by op
//	inputs       file of each input, by its name; several names may have one file
//	state_dict   file of each parameter, by its key; {} where there are none
//	output       file to write the output to
//	weights      file to write the attention weights to; null where none are wanted
//
// The files are .npy of version 1.0, little endian, in C order, paths relative to the folder. bfloat16, for which
// the format has no type, is its bits in uint16. Parameters and sinks are float32 whatever the precision is.
//
// # Inputs
//
//	query, key, value       of a layer (B, T, width) or in the order of input_layout; of the function (..., H, T, E)
//	past_key, past_value    (B, Hk, P, E): keys and values of earlier positions, normed and rotated already;
//	                        they come before the new ones
//	allow                   bool, broadcastable to (..., L, S): true takes part
//	block                   bool, (L, S) or (B*H, L, S): true is ignored
//	padding                 bool, (B, S), without B in an unbatched case: true is ignored
//	bias                    added to the scores: (L, S) or (B*H, L, S), of the function broadcastable to (..., L, S)
//	sinks                   (H): a logit of each head in the softmax, without a value
//
// Of a module the inputs have the names of its forward function's arguments.
//
// # config
//
// Of scaled_dot_product_attention and of multi_head_attention:
//
//	causality        "none", "top-left" or "lower-right": query i sees the keys 0 to first_position + i
//	first_position   the key at which query 0 stands: the length of the cache, S - L under lower-right, else 0.
//	                 RoPE, ALiBi, windows and relative biases count from it too
//	scale            the scores are scale q·k, always a number
//	softcap          c: the scores become c tanh(score / c), before bias and ALiBi; null is none
//	alibi            true: scores lose slope times distance. Of head h (from 0) of H, n the largest power of two up
//	                 to H, the slope is 2^(-8(h+1)/n) where h < n, else 2^(-4(2(h-n)+1)/n)
//	window           w: a query sees keys at a distance below w, on either side; null is no limit
//	empty_row        what a query that may see no key gives: "zero", a context of zeros, so that a layer gives its output
//	                 bias; or "nan"
//
// Of scaled_dot_product_attention alone:
//
//	enable_gqa       true: query head h uses key and value head h / (H/Hk)
//
// Of multi_head_attention alone:
//
//	embed_dim, kdim, vdim            widths of query (and output), key and value
//	num_heads, num_kv_heads          H and Hk: query head h uses key and value head h / (H/Hk)
//	head_dim                         E; the projections give num_heads or num_kv_heads times E features, one head after another
//	bias, output_bias                whether the input projections and the output projection have biases
//	keys                             names of the parameters, below
//	prefix                           stands before every key of the state dict
//	input_layout                     "batch-first" (B, T, width), "sequence-first" (T, B, width) or "unbatched" (T, width);
//	                                 the output is in the same one
//	need_weights                     "averaged" over the heads, (B, L, S), or "per-head", (B, H, L, S), both without B in an
//	                                 unbatched case; null is none
//	bias_kv                          true: bias_k and bias_v are one more key and value, behind all others
//	add_zero_attn                    true: one more key and value of zeros, behind them
//	rope                             null, or style "half" (feature i is paired with i + dim/2) or "interleaved" (2i with
//	                                 2i + 1), dim (the first features of a head that are rotated), base, and factor, by which
//	                                 positions are divided. Pair i turns by position / factor / base^(2i/dim)
//	qk_norm                          null, or eps: x / sqrt(mean(x²) + eps) times q_norm.weight or k_norm.weight, over each head, before rope
//	sinks                            true: the parameter sinks (H) is a logit of each head in the softmax, without a value
//	relative_bias                    R: relative_bias.weight (2R+1, H) holds what is added to a score, row R + (key - query
//	                                 position), clipped to 0 and 2R; null is none
//
// Of module: the class, module.
//
// # keys
//
// Weights are (out, in), y = W x + b, unless something else is said; W_Q and the others stand for the four projections.
//
//	torch            in_proj_weight, in_proj_bias: W_Q, W_K, W_V on top of one another; q_proj_weight, k_proj_weight and v_proj_weight
//	                 where kdim or vdim is not embed_dim; bias_k, bias_v (1, 1, D); out_proj.weight, out_proj.bias
//	torch-separate   those, always with q_proj_weight, k_proj_weight and v_proj_weight
//	seed             W_Q, W_K, W_V, W_O
//	llama            q_proj, k_proj, v_proj, o_proj, each with .weight and .bias
//	gpt2             c_attn (Q, K and V side by side) and c_proj, with .weight, which is (in, out), and .bias
//	neox             query_key_value and dense, with .weight and .bias: of one key head after another the rows of
//	                 its query heads, its key, its value
//	fused            qkv_proj (Q, K, V on top of one another) and o_proj, with .weight and .bias
package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/fixture"
)

// Version is that of the protocol.
const Version = 1

// Names of the files in a folder of a case.
const (
	RequestFile = "request.json"
	OutputFile  = "output.npy"
	WeightsFile = "weights.npy"

	inputsDir = "inputs"
	stateDir  = "state_dict"
)

// Request asks for the output of one case.
type Request struct {
	Version   int               `json:"version"`
	Case      string            `json:"case"`
	Op        fixture.Op        `json:"op"`
	Precision fixture.DType     `json:"precision"`
	Config    any               `json:"config"` // Function, Layer or Module
	Inputs    map[string]string `json:"inputs"`
	StateDict map[string]string `json:"state_dict"`
	Output    string            `json:"output"`
	Weights   *string           `json:"weights"`
}

// New makes the request of a case, and gives the arrays that it names by their files. It fails on a case that
// was not read by the package fixture and does not hold together.
func New(c *fixture.Case) (Request, map[string]*fixture.Array, error) {
	inputs, err := c.InputArrays()
	state, stateErr := c.StateArrays()
	if err := errors.Join(err, stateErr); err != nil {
		return Request{}, nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	files := map[string]*fixture.Array{}
	r := Request{
		Version: Version, Case: c.Name, Op: c.Op, Precision: c.Precision, Config: configOf(c),
		Inputs: place(inputsDir, inputs, files), StateDict: place(stateDir, state, files), Output: OutputFile,
	}
	if c.Weights != nil {
		weights := WeightsFile
		r.Weights = &weights
	}
	return r, files, nil
}

// Write makes the request of a case and writes it, with its arrays, into a folder that exists.
func Write(dir string, c *fixture.Case) (Request, error) {
	r, files, err := texts(c)
	if err != nil {
		return Request{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Request{}, err
	}
	defer root.Close()
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if err := errors.Join(root.MkdirAll(path.Dir(file), 0o755), root.WriteFile(file, files[file], 0o644)); err != nil {
			return Request{}, fmt.Errorf("%s: %s: %w", c.Name, file, err)
		}
	}
	return r, nil
}

// texts are the contents of all files of a request.
func texts(c *fixture.Case) (Request, map[string][]byte, error) {
	r, arrays, err := New(c)
	if err != nil {
		return r, nil, err
	}
	files := map[string][]byte{}
	for file, a := range arrays {
		if files[file], err = a.EncodeNPY(); err != nil {
			return r, nil, fmt.Errorf("%s: %s: %w", c.Name, file, err)
		}
	}
	files[RequestFile], err = r.JSON()
	return r, files, err
}

// JSON is the text of request.json.
func (r Request) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	return append(text, '\n'), err
}

// plainName is a name that is a file's on every system.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// place gives each array a file in a folder: its name where that can be a file's and is no other's but for
// case, else its number. An array of several names has one file.
func place(dir string, arrays, files map[string]*fixture.Array) map[string]string {
	taken, placed := map[string]bool{}, map[*fixture.Array]string{}
	names := map[string]string{}
	for i, name := range slices.SortedFunc(maps.Keys(arrays), inOrder) {
		a := arrays[name]
		if placed[a] == "" {
			word := name
			if !plainName.MatchString(word) || len(word) > 200 || taken[strings.ToLower(word)] {
				word = fmt.Sprintf("-%d", i)
			}
			taken[strings.ToLower(word)] = true
			placed[a] = dir + "/" + word + ".npy"
			files[placed[a]] = a
		}
		names[name] = placed[a]
	}
	return names
}

// inOrder puts query first, so that what self-attention shares is called by that name.
func inOrder(a, b string) int {
	if first := "query"; a != b && (a == first || b == first) {
		if a == first {
			return -1
		}
		return 1
	}
	return strings.Compare(a, b)
}
