package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/printable"
	"github.com/difftest/difftest/harness/internal/protocol"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Folder judges outputs that were made elsewhere, in the declared precision, as [Check] judges a
// subject's. A case whose reply.json declares a precision needs no other declaration. There is a
// folder for each case, mha/causal/output.npy, and weights.npy beside it if the case has attention
// weights. A case without an output is skipped, or has failed if its reply.json says so. Whatever
// [protocol.Write] puts into such a folder may lie there as well. Any other file is an error,
// because a typing mistake in a name must not look like a missing output.
//
// The error is as [Check]'s. Outputs that cannot be read are broken, and listed in the report.
func Folder(
	ctx context.Context, suite, outputs fs.FS, declared subject.Precision, cases ...string,
) (*report.Report, error) {
	names, suiteErr := fixture.Names(suite)
	if suiteErr != nil && len(names) == 0 {
		return nil, suiteErr
	}
	if err := errors.Join(declared.Check(), fixture.CheckNames(cases, names)); err != nil {
		return nil, err
	}
	r := &report.Report{Precision: string(declared), Broken: brokenSuite(suiteErr)}
	if err := strays(outputs, names); err != nil {
		r.Broken = append(r.Broken, report.Broken{Case: "(outputs)", Err: printable.Message(err.Error())})
	}
	expected := newExpectedOutputs(suite)
	return r, work{
		judge: func(ctx context.Context, t *turn) (report.Result, error) {
			return judgeOutputs(ctx, t, declared, outputs, expected)
		},
	}.on(ctx, r, suite, chosen(cases, names))
}

// manyStrays are enough to see what a folder is.
const manyStrays = 20

// strays names the files that belong to no case, or would not be looked at there.
func strays(outputs fs.FS, cases []string) error {
	var errs []error
	err := fs.WalkDir(outputs, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		belonging := protocol.Place(file, cases)
		switch {
		case belonging > protocol.Unknown:
		case len(errs) == manyStrays:
			errs = append(errs, errors.New("and more"))
			return fs.SkipAll
		case belonging == protocol.Unknown:
			errs = append(errs, fmt.Errorf("%s: unknown file: an output is %s, attention weights are %s",
				printable.Line(file), protocol.OutputFile, protocol.WeightsFile))
		default:
			errs = append(errs, fmt.Errorf("%s: belongs to no case", printable.Line(file)))
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}

// judgeOutputs gives the verdict on the files of one case.
func judgeOutputs(
	ctx context.Context, t *turn, declared subject.Precision, outputs fs.FS, expected *expectedOutputs,
) (report.Result, error) {
	c := t.c
	output, outputErr := readOutput(outputs, c, protocol.OutputFile, c.Output)
	weights, weightsErr := readOutput(outputs, c, protocol.WeightsFile, c.Weights)
	reply, replyErr := readReply(outputs, c)
	inside, traceErr := readTrace(outputs, c)
	if err := errors.Join(outputErr, weightsErr, replyErr, traceErr); err != nil {
		return report.Result{}, err
	}
	r := report.Result{Case: c.Name, Purpose: c.Purpose}
	switch {
	case reply.Type != protocol.TypeOK && (output != nil || weights != nil):
		return r, fmt.Errorf("%s: says %s beside an output", path.Join(c.Name, protocol.ReplyFile), reply.Type)
	case reply.Type == protocol.TypeSkipped:
		r.Verdict, r.Err = report.Skip, printable.Text(strings.TrimSpace(reply.Reason))
		return r, nil
	case reply.Type == protocol.TypeError:
		r.Verdict, r.Err = report.Error, printable.Text(strings.TrimSpace(reply.Message+"\n"+reply.Traceback))
		return r, nil
	case output == nil && weights == nil:
		_, err := fs.Stat(outputs, c.Name)
		r.Verdict, r.Err, r.Absent = report.Skip, "no "+protocol.OutputFile, errors.Is(err, fs.ErrNotExist)
		return r, nil
	case output == nil:
		return r, fmt.Errorf("%s: no %s beside it", path.Join(c.Name, protocol.WeightsFile), protocol.OutputFile)
	case c.Weights == nil && weights != nil:
		return r, fmt.Errorf("%s: the case has no attention weights", path.Join(c.Name, protocol.WeightsFile))
	case c.Weights != nil && weights == nil:
		r.Verdict, r.Err = report.Error, "no "+protocol.WeightsFile+
			" beside the output: the case asks for attention weights"
		return r, nil
	}
	t.declared = subject.Precision(reply.Precision)
	precision, err := onePrecision(declared, t.declared)
	if err != nil {
		return r, fmt.Errorf("%s: %w", path.Join(c.Name, protocol.ReplyFile), err)
	}
	r, err = judge.TracedOutputs(ctx, c, precision, output, weights, inside)
	if err != nil {
		return r, err
	}
	return expected.name(ctx, r, precision, output.Shape, output.Value), nil
}

// readOutput reads a file of a case; nil where there is none.
func readOutput(outputs fs.FS, c *fixture.Case, name string, want *attention.Tensor) (*oracle.Array, error) {
	var shape []int
	if want != nil {
		shape = want.Shape
	}
	a, values, err := fixture.ReadOutputFile(outputs, path.Join(c.Name, name), shape)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &oracle.Array{Shape: a.Shape, Value: values}, nil
}

// readReply reads the reply that may lie in a folder instead of an output; ok if there is none.
func readReply(outputs fs.FS, c *fixture.Case) (protocol.Reply, error) {
	file := path.Join(c.Name, protocol.ReplyFile)
	data, err := fixture.ReadFile(outputs, file)
	if errors.Is(err, fs.ErrNotExist) {
		return protocol.Reply{Type: protocol.TypeOK}, nil
	}
	if err != nil {
		return protocol.Reply{}, err
	}
	reply, err := protocol.ParseReply(data)
	if err == nil && reply.Type == protocol.TypeStarted {
		err = fmt.Errorf("type: %q answers no request", reply.Type)
	}
	if err == nil {
		var own subject.Precision
		own, err = subject.ParsePrecision(reply.Precision)
		reply.Precision = string(own)
	}
	if err != nil {
		return protocol.Reply{}, fmt.Errorf("%s: %s", file, printable.Text(err.Error()))
	}
	return reply, nil
}
