package diagnose

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/replay"
)

// everyMistake is cut off if some mistakes could not be made.
func everyMistake(_ context.Context, in *input, _ fit.Result) answer { return answer{cut: in.unmade} }

// twoMistakes decides if two mistakes at once give the output. It skips large cases.
func twoMistakes(ctx context.Context, in *input, fits fit.Result) answer {
	if !in.replays.PairsAffordable() {
		return answer{}
	}
	return search(replay.FindPairs)(ctx, in, fits)
}

// inGraph is a step that decides if a search in the graph of a module finds mistakes.
func inGraph(
	find func(m *replay.Module, ctx context.Context, got []float64) ([]replay.Match, replay.Cut),
) func(context.Context, *input, fit.Result) answer {
	return func(ctx context.Context, in *input, _ fit.Result) answer {
		if in.module == nil {
			return answer{}
		}
		matches, cut := find(in.module, ctx, in.whole.Blank(in.output))
		return answer{finding: explained(matches), cut: cut}
	}
}

// mistakeInGraph decides if a known mistake in the graph of a module gives the output. It measures
// the distance of every mistake that it makes.
func mistakeInGraph(ctx context.Context, in *input, _ fit.Result) answer {
	if in.module == nil {
		return answer{}
	}
	matches, distances, cut := in.module.Measure(ctx, in.whole.Blank(in.output))
	return answer{finding: explained(matches), cut: cut, distances: distances}
}

// numberInGraph is a step that decides if a search in the graph of a module finds numbers.
func numberInGraph(
	find func(m *replay.Module, ctx context.Context, got []float64) ([]replay.NumberMatch, replay.Cut),
) func(context.Context, *input, fit.Result) answer {
	return func(ctx context.Context, in *input, _ fit.Result) answer {
		if in.module == nil {
			return answer{}
		}
		numbers, cut := find(in.module, ctx, in.whole.Blank(in.output))
		return answer{finding: explainedByNumbers(numbers), cut: cut}
	}
}

// explained names the mistakes that give the output; nil if there are none.
func explained(matches []replay.Match) *finding {
	if len(matches) == 0 {
		return nil
	}
	var titles []string
	classes := map[Class]bool{}
	for _, m := range matches {
		titles = append(titles, m.Title())
		for _, mistake := range m.Mistakes {
			classes[classOf(mistake.Kind)] = true
		}
	}
	f := findingf(only(classes), "the output is this case computed with %s", strings.Join(titles, ", or with "))
	f.matches = matches
	m := matches[0]
	next := "no other mistake was tried"
	if !math.IsInf(m.Next, 1) {
		next = fmt.Sprintf("the next mistake leaves %.2g", m.Next)
	}
	f.because("residual %.2g (max z %.2g); %s", m.Residual, m.MaxZ, next)
	if m.Trace > 0 {
		const text = "its errors lead where rounded inputs and parameters lead: cosine %.2f, 0 by chance"
		f.because(text, m.Trace)
	}
	if len(matches) > 1 {
		f.because("this case cannot tell these apart")
	}
	return f
}

// wrongNumber is a step that decides if a search finds a number of the configuration that gives the
// output with another value.
func wrongNumber(
	find func(context.Context, replay.Output) ([]replay.NumberMatch, replay.Cut),
) func(context.Context, *input, fit.Result) answer {
	return func(ctx context.Context, in *input, _ fit.Result) answer {
		numbers, cut := find(ctx, in.replays)
		return answer{finding: explainedByNumbers(numbers), cut: cut}
	}
}

// explainedByNumbers names the numbers that give the output; nil if there are none.
func explainedByNumbers(numbers []replay.NumberMatch) *finding {
	if len(numbers) == 0 {
		return nil
	}
	var words []string
	for _, n := range numbers {
		words = append(words, n.String())
	}
	f := findingf(WrongNumber, "%s", strings.Join(words, ", or "))
	f.numbers = numbers
	first := numbers[0]
	it := "it"
	if first.Beside != nil {
		it = "both"
	}
	f.because("with %s this case gives the output: residual %.2g (max z %.2g)%s",
		it, first.Residual, first.MaxZ, interval(first))
	for _, n := range numbers {
		if n.Alike != "" {
			f.because("%s", n.Alike)
		}
		if n.Beside != nil && n.Beside.Alike != "" && n.Beside.Alike != n.Alike {
			f.because("%s", n.Beside.Alike)
		}
	}
	if len(numbers) > 1 {
		f.because("this case cannot tell these apart")
	}
	return f
}

// interval names the values that explain the output as well; "" if they agree to six digits.
func interval(n replay.NumberMatch) string {
	least, most := fmt.Sprintf("%.6g", n.Least), fmt.Sprintf("%.6g", n.Most)
	if n.Beside != nil {
		return besides(n, least, most)
	}
	if least == most {
		return ""
	}
	return fmt.Sprintf("; from %s to %s is as good", least, most)
}

// besides names the values of each of two numbers that explain the output as well.
func besides(n replay.NumberMatch, least, most string) string {
	var words []string
	if least != most {
		words = append(words, fmt.Sprintf("%s from %s to %s", n.Number.Title, least, most))
	}
	if least, most = fmt.Sprintf("%.6g", n.Beside.Least), fmt.Sprintf("%.6g", n.Beside.Most); least != most {
		words = append(words, fmt.Sprintf("%s from %s to %s", n.Beside.Number.Title, least, most))
	}
	if len(words) == 0 {
		return ""
	}
	return "; as good: " + strings.Join(words, ", ")
}

// leastSquares asks which parameters would explain the output. It decides nothing.
func leastSquares(ctx context.Context, in *input, _ fit.Result) answer {
	if in.comparison.NonFinite > 0 || len(in.structure.WrongBatches) == 0 {
		return answer{}
	}
	fits, err := fit.Search(ctx, fit.Input{
		Problem: in.problem, Trace: in.trace, Got: in.got, Comparison: in.comparison,
		Placements: in.placements,
	})
	if err != nil {
		return answer{cut: "other parameters were not all tried, and no two mistakes"}
	}
	return answer{fits: &fits}
}

// otherParameters decides if least squares explained the output.
func otherParameters(_ context.Context, _ *input, fits fit.Result) answer {
	if fits.Reasons == nil {
		return answer{}
	}
	return answer{finding: &finding{class: WrongWeights, reasons: fits.Reasons}}
}
