package catalogue

import "strings"

// IDs returns the ids of mistakes, in their order.
func IDs(mistakes []Mistake) []string {
	var ids []string
	for _, m := range mistakes {
		ids = append(ids, m.ID)
	}
	return ids
}

// JoinIDs joins the ids of mistakes that are made at once: "causal-missing+padding-ignored".
func JoinIDs(mistakes []Mistake) string { return strings.Join(IDs(mistakes), "+") }
