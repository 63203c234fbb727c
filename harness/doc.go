// Package harness tests an implementation of attention, or of a whole model, against results of a
// pinned PyTorch, and names the mistake in a wrong one.
//
// In a test, [Run] makes a subtest of every case:
//
//	func TestAttention(t *testing.T) {
//		harness.Run(t, fixtures.FS, harness.Subject{
//			Name: "mine",
//			SDPA: mine.SDPA,
//			MHA:  func(c attention.Config) (harness.Module, error) { return mine.New(c) },
//		})
//	}
//
// A [Model] computes a captured module of PyTorch. If it is a [Tracer], too, the report names the
// first wrong module inside it.
//
// In a program, [Check] returns a [Report]. [CheckFolder] and [Judge] take outputs that were made
// elsewhere. A [Command] is a program in any language. No function has a tolerance to set: the
// noise that rounding gives each case is the only measure.
//
// # The path of one case
//
// Read: a case is a folder of .npy files and a case.json, which says what PyTorch computed and how.
// Every file is checked against its sum, dtype and shape before anything is computed.
//
// Run: the subject gets copies of the inputs and of the state dict, and computes the case twice. A
// panic, a changed input, or a second output that differs from the first is wrong whatever the
// numbers are. A [StateDicter] has its parameters read back after the load.
//
// Truth: the oracle computes the case in float64. Beside each value it carries the variance that
// rounding gives a correct implementation. The oracle must reproduce PyTorch's float64 result
// first.
//
// Verdict: the output passes if no element is further than 16 sigma from the truth, and their root
// mean square is at most 1.5 sigma.
//
// Cause: a failing output is compared with the replay of every known mistake on this very case,
// then with mistakes in fewer bits, with other parameters by least squares, and with two mistakes
// at once. A mistake is named if it gives the output to rounding and nothing else comes near.
// Otherwise the result says so, with the rows, heads and weights that are wrong.
//
// Probe: the subject runs again with other weights, a later token changed, and the like. A probe
// needs no right output to compare with: it shows what the output depends on.
//
// Causes: the fewest mistakes and wrong numbers that explain all failures are chosen, and cases
// that pass contradict what would show on them. What is wrong on some cases is tried on all others.
// Of failures without a cause the report says what they share, and no passing case has.
//
// Report: a value that programs read, and functions that write it for people.
//
// # Words
//
//	case        a folder of inputs, parameters and PyTorch's results
//	suite       a file system of cases, for example fixtures.FS
//	subject     the implementation under test
//	truth       PyTorch's result of the case, computed in float64
//	noise       what rounding does to a correct output; sigma is its standard deviation
//	z           the distance of an element from the truth, in sigma
//	max z       the largest z of an output
//	rms z       the root mean square of z over an output
//	rel         RMS(got - want) / RMS(want)
//	gain        RMS(got) / RMS(want)
//	cosine      the cosine of the angle between got and want
//	allowed     how far an element may be from the truth: 16 sigma
//	mistake     a known way to get attention wrong, with an id such as causal-missing
//	catalogue   all known mistakes; MISTAKES.md lists them
//	planted     made on purpose, to test the diagnosis
//	replay      the output of a case, computed with a mistake
//	residual    RMS(got - replay) / RMS(replay); what an explanation leaves
//	margin      how many times more the next explanation leaves
//	fit         parameters found by least squares that would give the output
//	class       the sort of a failure, decided by proofs first and sizes last
//	cause       what explains the failures of several cases
//	shared      what failures without a cause have, and no passing case; no proof of a cause
//	contradict  a passing case that would fail with a mistake contradicts it
//	probe       a run with changed inputs or parameters
//	blind       a case is blind to a mistake that does not change its output
//	unexplained no known mistake, and no two of them, give the output
package harness
