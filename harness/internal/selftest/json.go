package selftest

import (
	"encoding/json"
	"io"
)

// JSON writes a result for programs.
func JSON(out io.Writer, r *Result) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(jsonResult{
		Version: 1, Seed: r.Seed, Cases: r.Cases,
		Singles: r.Singles, Pairs: r.Pairs, LeftOut: r.LeftOut, Random: r.Random, Independent: r.Independent,
		Numbers:  r.Numbers,
		Variants: r.Variants, Noise: r.Noise, Detection: r.Detection,
		Mistakes: jsonRows(r.Mistakes),
		Findings: append([]Finding{}, r.Findings...),
		Missed:   append([]string{}, r.Missed()...),
	})
}

type jsonResult struct {
	Version     int       `json:"version"`
	Seed        uint64    `json:"seed"`
	Cases       int       `json:"cases"`
	Singles     Counts    `json:"singles"`
	Pairs       Counts    `json:"pairs"`
	LeftOut     Counts    `json:"left_out"`
	Random      Counts    `json:"random"`
	Independent Counts    `json:"independent"`
	Numbers     Counts    `json:"numbers"`
	Variants    Variants  `json:"variants"`
	Noise       Noise     `json:"noise"`
	Detection   Detection `json:"detection"`
	Mistakes    []jsonRow `json:"mistakes"`
	Findings    []Finding `json:"findings"`
	Missed      []string  `json:"missed"`
}

type jsonRow struct {
	ID          string `json:"id"`
	Family      string `json:"family"`
	By          Maker  `json:"by"`
	Independent bool   `json:"independent"`
	Counts
}

func jsonRows(rows []Row) []jsonRow {
	all := []jsonRow{}
	for _, row := range rows {
		all = append(all, jsonRow{
			ID: row.Mistake.ID, Family: string(row.Mistake.Family),
			By: row.By, Independent: row.By == ByPyTorch, Counts: row.Counts,
		})
	}
	return all
}
