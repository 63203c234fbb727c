package catalogue

import "fmt"

// variant is one form of a mistake beside the usual one.
type variant struct {
	id    string // follows the id of the mistake and a hyphen
	title string
	needs string // empty if the variant needs what the mistake needs
	plant plant
}

// withVariants returns a mistake with variants. They share everything that a variant does not give.
func withVariants(m Mistake, variants ...variant) Mistake {
	for _, v := range variants {
		other := m
		other.ID, other.Title, other.Plant = m.ID+"-"+v.id, v.title, v.plant
		other.Variants, other.VariantOf = nil, m.ID
		if v.needs != "" {
			other.Needs = v.needs
		}
		m.Variants = append(m.Variants, other)
	}
	return m
}

// tiled returns a mistake of kernels that work through the keys in tiles of some width. The mistake
// itself has the first width, and a variant each other one. title and needs hold %d for the width.
func tiled(m Mistake, title, needs string, of func(width int) plant, first int, others ...int) Mistake {
	m.Title, m.Needs, m.Plant = fmt.Sprintf(title, first), fmt.Sprintf(needs, first), of(first)
	var variants []variant
	for _, width := range others {
		variants = append(variants, variant{
			fmt.Sprint(width), fmt.Sprintf(title, width), fmt.Sprintf(needs, width), of(width),
		})
	}
	return withVariants(m, variants...)
}
