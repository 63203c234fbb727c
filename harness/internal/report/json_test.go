package report_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

// The format of version 1, to the letter: programs read it.
func TestJSON(t *testing.T) {
	r := sample()
	d := &r.Results[4].Diagnosis
	d.Unexplained = true
	d.Bands[0].Rel, d.Bands[0].Gain = replay.Range{Min: 1, Max: 2}, replay.Range{Min: 3, Max: 4}
	d.Structure.WrongBatches, d.Structure.WrongRows, d.Structure.WrongFeatures = []int{0}, []int{1}, []int{2}
	d.Matches = []replay.Match{{
		Mistakes: mistakes("causal-missing", "causal-inverted"), Residual: 1e-7, MaxZ: 2, Margin: 1e6,
	}}
	r.Results[4].Probes = []report.Probe{{
		ID: "future-token", Title: "later tokens reach earlier rows", Text: "row 0 changes",
	}}
	r.Results[4].Proven = []report.Proof{{ID: "future-token", Title: "later tokens reach earlier rows"}}
	r.Results[4].RuledOut = []report.RuledOut{{ID: "causal-missing", By: "a/right"}}
	r.Causes = []report.Cause{{
		ID: "causal-missing", Title: "the causal mask missing", Fix: "Hide later keys.",
		Failures: []string{"a/wrong"}, Passes: 1, Alternatives: []string{"causal-inverted"},
	}}
	r.Results = r.Results[3:]
	r.Results[1].Comparison.MaxZ, r.Results[1].Comparison.RMSZ = 20, 10
	r.Results[1].PyTorch.MaxZ, r.Results[1].PyTorch.RMSZ = 2, 0.5
	r.Results[1].Comparison.Rel, r.Results[1].Comparison.Gain, r.Results[1].Comparison.Cosine = 5, 6, 0.75
	r.Results[1].Comparison.Worst.Z = 20
	r.Results[1].Comparison.First = nil
	var b strings.Builder
	require.NoError(t, report.JSON(&b, r))
	require.Equal(t, `{
  "version": 1,
  "subject": "mine",
  "suite": "PyTorch 2.15.0",
  "selected": 2,
  "interrupted": false,
  "causes": [
    {
      "id": "causal-missing",
      "title": "the causal mask missing",
      "fix": "Hide later keys.",
      "live": false,
      "failures": [
        "a/wrong"
      ],
      "contradictions": [],
      "passes": 1,
      "alternatives": [
        "causal-inverted"
      ],
      "otherwise": [],
      "only": "",
      "symptom": false,
      "ruled_out": []
    }
  ],
  "shared": [],
  "results": [
    {
      "case": "a/crash",
      "purpose": "Crashes.",
      "verdict": "error",
      "reasons": [],
      "matches": [],
      "bands": [],
      "ruled_out": [],
      "unexplained": false,
      "findings": [],
      "probes": [],
      "proven": [],
      "error": "panic: boom\nstack",
      "rerun": "difftest --case a/crash"
    },
    {
      "case": "a/wrong",
      "purpose": "Wrong.",
      "verdict": "fail",
      "class": "unclear",
      "reasons": [
        "no known mistake"
      ],
      "comparison": {
        "got_shape": [
          1,
          2,
          1
        ],
        "want_shape": [
          1,
          2,
          1
        ],
        "elements": 2,
        "outside": 1,
        "non_finite": 0,
        "max_z": 20,
        "rms_z": 10,
        "rel": 5,
        "gain": 6,
        "cosine": 0.75,
        "noise": "computed",
        "worst": {
          "index": [
            0,
            1,
            0
          ],
          "got": 12345678,
          "want": 2,
          "allowed": 2,
          "z": 20
        },
        "first": []
      },
      "pytorch": {
        "max_z": 2,
        "rms_z": 0.5
      },
      "structure": {
        "rows": [
          "-x"
        ],
        "wrong_batches": [
          0
        ],
        "wrong_rows": [
          1
        ],
        "wrong_features": [
          2
        ],
        "first_row_exact": true,
        "last_row_exact": false
      },
      "matches": [
        {
          "id": "causal-missing+causal-inverted",
          "title": "the causal mask missing, and the causal mask inverted: only later keys are seen",
          "fixes": [
            "Hide key j from query i where j > i, before the softmax, also where a padding mask is given.",
            "True takes part in scaled_dot_product_attention, true is ignored in nn.MultiheadAttention."
          ],
          "residual": 1e-7,
          "max_z": 2,
          "margin": 1000000
        }
      ],
      "bands": [
        {
          "id": "weights-unit-normal",
          "rel": [
            1,
            2
          ],
          "gain": [
            3,
            4
          ],
          "cosine": [
            "NaN",
            "NaN"
          ]
        }
      ],
      "ruled_out": [
        {
          "id": "causal-missing",
          "by": "a/right"
        }
      ],
      "unexplained": true,
      "findings": [
        "the subject changes its input query"
      ],
      "probes": [
        {
          "id": "future-token",
          "title": "later tokens reach earlier rows",
          "text": "row 0 changes"
        }
      ],
      "proven": [
        "later tokens reach earlier rows"
      ],
      "rerun": "difftest --case a/wrong"
    }
  ],
  "broken": [
    {
      "case": "a/broken",
      "error": "a/broken/case.json: one\na/broken/case.json: two"
    }
  ],
  "summary": {
    "pass": 0,
    "fail": 1,
    "error": 1,
    "skip": 0,
    "known": 0,
    "broken": 1
  }
}
`, b.String())
}

// Fits and recovered weights stand in it with all their numbers.
func TestJSONHoldsFitsAndPattern(t *testing.T) {
	var b strings.Builder
	require.NoError(t, report.JSON(&b, sampleWithFits()))
	var got struct {
		Results []struct {
			Stage string
			Fits  []struct {
				Freed, Refused string
				Parameters     []string
				Explains       bool
				Residual       any
			}
			Pattern struct {
				HeadsPerBatch                    int `json:"heads_per_batch"`
				Recovered, Expected, Uncertainty [][][]float64
				Findings                         []string
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(b.String()), &got))
	r := got.Results[0]
	require.Equal(t, "scores", r.Stage)
	require.Len(t, r.Fits, 3)
	require.True(t, r.Fits[0].Explains)
	require.Equal(t, []string{"q_proj.weight"}, r.Fits[0].Parameters)
	require.False(t, r.Fits[1].Explains)
	require.Equal(t, "+Inf", r.Fits[2].Residual)
	require.Equal(t, "4 rows", r.Fits[2].Refused)
	require.Equal(t, 1, r.Pattern.HeadsPerBatch)
	require.Equal(t, [][][]float64{{{1, 0}, {0.25, 0.75}}}, r.Pattern.Recovered)
	require.Equal(t, [][][]float64{{{1, 0}, {0.5, 0.5}}}, r.Pattern.Expected)
	require.Equal(t, [][][]float64{{{0, 0}, {1e-7, 1e-7}}}, r.Pattern.Uncertainty)
	require.Equal(t, []string{"a finding"}, r.Pattern.Findings)
}

func mistakes(ids ...string) []catalogue.Mistake {
	var list []catalogue.Mistake
	for _, id := range ids {
		m, _ := catalogue.ByID(id)
		list = append(list, m)
	}
	return list
}
