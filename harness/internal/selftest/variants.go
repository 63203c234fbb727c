package selftest

import (
	"fmt"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/variant"
)

// judgeVariants judges correct implementations on inputs of several sizes: none may be refused. A
// mistake might hide in the noise of larger inputs, so all mistakes are made on those as well.
func (t *trial) judgeVariants() {
	for _, times := range []float32{1, 4, 8} {
		c := enlarged(t.c, times)
		problem := oracle.FromCase(c)
		truth := problem.Run().Expected()
		for _, v := range variant.Correct {
			t.judgeVariant(v.Name, times, v.Run(problem), truth)
		}
		nearest := make([]float64, len(truth.Value))
		for i, v := range truth.Value {
			nearest[i] = float64(float32(v))
		}
		t.judgeVariant("float64, rounded", times, nearest, truth)
		if times > 1 {
			t.detect(times, problem, truth)
		}
	}
}

func (t *trial) judgeVariant(name string, times float32, got []float64, truth compare.Expected) {
	t.found.Variants.Run++
	if c := compare.Outputs(truth.Shape, got, truth); !c.OK() {
		t.found.Variants.FalseAlarms++
		t.found.Findings = append(t.found.Findings, Finding{
			falseAlarm, "variants", t.name, fmt.Sprintf("%s, inputs x%g", name, times), distances(c),
		})
	}
}

// detect makes every single mistake on enlarged inputs. An output must be refused if its mistake
// moves it by more than [Beyond].
func (t *trial) detect(times float32, problem *oracle.Problem, truth compare.Expected) {
	for _, single := range t.singles {
		r := t.rand(fmt.Sprint(single.id(), times))
		wrong, ok := catalogue.Make(problem, r, single.mistakes...)
		if !ok {
			continue
		}
		p := plant{mistakes: single.mistakes, exact: wrong.Run().Expected()}
		p.measure(truth)
		if p.maxZ <= Beyond {
			continue
		}
		p.got, p.by = inFloat32(wrong, p.exact, r)
		t.found.Detection.Planted++
		c := compare.Outputs(truth.Shape, p.got, truth)
		if !c.OK() {
			t.found.Detection.Detected++
			continue
		}
		t.found.Findings = append(t.found.Findings, Finding{
			notDetected, "detection", t.name, fmt.Sprintf("%s, inputs x%g", p.id(), times), distances(c),
		})
	}
}

func distances(c compare.Comparison) string {
	return fmt.Sprintf("max z %.3g, rms z %.3g", c.MaxZ, c.RMSZ)
}
