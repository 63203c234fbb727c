package child_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/child"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// cases are the ones that a faulty child computes. Its fault is on the second.
var cases = []string{"sdpa/unmasked", "sdpa/causal", "sdpa/scale"}

// world is the environment of a child in a test. Files and processes that the child leaves are
// found there.
type world struct {
	t         *testing.T
	tmp, pids string
}

func newWorld(t *testing.T, fault string) world {
	w := world{t, t.TempDir(), filepath.Join(t.TempDir(), "pids")}
	t.Setenv("TMPDIR", w.tmp)
	t.Setenv("TMP", w.tmp)
	t.Setenv(faultVariable, fault)
	t.Setenv(caseVariable, cases[1])
	t.Setenv(pidsVariable, w.pids)
	// Without it each child with the race detector ends a second late.
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	return w
}

// command has a long timeout for busy machines, and a short one for the faults that only a timeout
// ends.
func command(fault string) child.Command {
	c := child.Command{Args: []string{os.Args[0]}, Timeout: time.Minute}
	for _, word := range []string{"hangs", "never starts", "SIGTERM", "stubborn"} {
		if strings.Contains(fault, word) {
			c.Timeout = 2 * time.Second
		}
	}
	return c
}

// check runs the cases, and requires that nothing is left of the child.
func (w world) check(ctx context.Context, c child.Command) (*report.Report, error) {
	s, err := child.New(ctx, c)
	require.NoError(w.t, err)
	r, err := check.Check(ctx, fixtures.FS, s, cases...)
	require.NoError(w.t, s.Close())
	w.nothingLeft()
	return r, err
}

// nothingLeft requires that every folder is gone, and soon every process.
func (w world) nothingLeft() {
	w.t.Helper()
	left, err := os.ReadDir(w.tmp)
	require.NoError(w.t, err)
	require.Empty(w.t, left)
	data, err := os.ReadFile(w.pids)
	require.NoError(w.t, err)
	pids := strings.Fields(string(data))
	require.NotEmpty(w.t, pids)
	for _, word := range pids {
		pid, err := strconv.Atoi(word)
		require.NoError(w.t, err)
		gone := func() bool { return !alive(pid) }
		require.Eventually(w.t, gone, 2*time.Second, 5*time.Millisecond, "process %d is left", pid)
	}
}

// alive reports whether a process runs. A zombie does not.
func alive(pid int) bool {
	if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil {
		return !bytes.Contains(stat, []byte(") Z "))
	}
	if _, err := os.Stat("/proc/self"); err == nil {
		return false
	}
	return signalled(pid)
}

// Whatever a child does, the case on which it does it is blamed, with the reason; the others are as
// if nothing had been.
func TestFaults(t *testing.T) {
	const (
		ended   = "it ended (exit status 0) instead of answering"
		silent  = "it has not answered for 2s"
		garbled = "a line on its stdout is not an answer: "
		full    = "it wrote more than 64 MiB or 1000 files into its folder"
	)
	for _, tc := range []struct {
		fault   string
		verdict report.Verdict
		want    string // the error; "..." stands for any text
	}{
		{"nothing", report.Pass, ""},
		{
			"crashes", report.Error, "it ended (exit status 3) instead of answering\n" +
				"last lines of stderr:\n  first line\n  boom: \\x1b[31mred\\x1b[0m",
		},
		{"exits 0", report.Error, ended},
		{"exits 0 after the first run", report.Error, ended},
		{"exits after its last answer", report.Error, ended},
		{"hangs", report.Error, silent},
		{"hangs and floods stderr", report.Error, silent + "\nlast lines of stderr:\n  flood flood..."},
		{"floods stderr and answers", report.Pass, ""},
		{"floods stdout", report.Error, garbled + "y: ..."},
		{"garbage", report.Error, garbled + "\\x1b[31mdebug: 7: ..."},
		{"unknown field", report.Error, garbled + `{"type":"ok","seq":5,"speed":9}: speed: unknown field`},
		{"unprintable field", report.Error, `...: "\x1b[2J": unknown field`},
		{"a field twice", report.Error, garbled + `{"type":"ok","seq":5,"seq":5}: seq: twice`},
		{
			"a field too many", report.Error,
			garbled + `{"type":"ok","seq":5,"reason":"x"}: reason: goes with skipped, not with ok`,
		},
		{
			"a late precision", report.Error,
			`it declares the precision "tf32" with "ok": it goes with "started"`,
		},
		{
			"unknown type", report.Error,
			garbled + `{"type":"fine","seq":5}: type: "fine", want one of ["started" "ok" "skipped" "error"]`,
		},
		{"no reason", report.Error, garbled + `{"type":"skipped","seq":5}: reason: empty`},
		{"answers ahead", report.Error, "it answers message 6, which it was never sent: the last one is 5"},
		{"answers behind", report.Error, "it answers message 4 again or too late: the last one is 5"},
		{"answers the first run twice", report.Error, "it answers message 5 again or too late: the last one is 6"},
		{"answers the second run twice", report.Error, "it answers message 6 again or too late: the last one is 7"},
		{"answers done twice", report.Error, "it answers message 6 again or too late: the last one is 7"},
		{"skips done", report.Error, "it answers \"skipped\" to \"done\", want \"ok\""},
		{"starts over", report.Error, "it answers \"started\" to \"run\""},
		{"half a line", report.Error, "it ended (exit status 0) in the middle of a line"},
		{"100 MB of a line", report.Error, "it writes a line of more than 1048576 bytes"},
		{"closes stdin", report.Error, "it has closed its stdin"},
		{"closes stdout", report.Error, "it has closed its stdout instead of answering"},
		{"no output", report.Error, "output.npy: the child has not written it"},
		{"no second output", report.Error, "second forward: output.npy: the child has not written it"},
		{"short output", report.Error, "output.npy: .npy data is truncated: ..."},
		{"long output", report.Error, "output.npy: .npy data has trailing bytes: ..."},
		{"empty output", report.Error, "output.npy: not a .npy file: ..."},
		{"claims terabytes", report.Error, "output.npy: .npy ..."},
		{"wrong dtype", report.Error, "output.npy: dtype float64, want float32"},
		{"folder for output", report.Error, "output.npy: not a regular file"},
		{"large file", report.Error, full},
		{"large output", report.Error, full},
		{"many files", report.Error, full},
		{"leaves grandchildren", report.Error, "it ended (exit status 1) instead of answering"},
		{"reports an error", report.Error, "ValueError: no\nline 1\nline 2"},
		{"skips", report.Skip, subject.ErrNotOffered.Error() + ": no causal\\x1b[2J mask"},
		{"skips the second", report.Error, "second forward: it skips the case that it has just computed"},
		{"wrong shape", report.Fail, ""},
		{"not a number", report.Fail, ""},
		{"changes a file", report.Fail, ""},
		{"removes a file", report.Fail, ""},
		{"is not steady", report.Fail, ""},
	} {
		t.Run(tc.fault, func(t *testing.T) {
			faulted(t, tc.fault, tc.verdict, tc.want)
		})
	}
}

func faulted(t *testing.T, fault string, verdict report.Verdict, want string) {
	r, err := newWorld(t, fault).check(t.Context(), command(fault))
	require.NoError(t, err)
	require.Equal(t, "faulty 1 (go)", r.Subject)
	for i, v := range []report.Verdict{report.Pass, verdict, report.Pass} {
		require.Equal(t, v, r.Results[i].Verdict, "%s: %s", r.Results[i].Case, r.Results[i].Err)
	}
	got := r.Results[1].Err
	for i, part := range strings.Split(want, "...") {
		if i == 0 && !strings.Contains(want, "...") {
			require.Equal(t, part, got)
		}
		require.Contains(t, got, part)
	}
	require.Less(t, len(got), 20*(400+100))
}

// Outputs of a child are judged like the outputs of any subject.
func TestWrongOutputsAreFailures(t *testing.T) {
	for _, tc := range []struct {
		fault    string
		class    diagnose.Class
		findings []string
	}{
		{"not a number", diagnose.NonFinite, nil},
		{"wrong shape", diagnose.Unclear, nil},
		{"changes a file", diagnose.Right, []string{"the subject changes its file inputs/key.npy"}},
		{"removes a file", diagnose.Right, []string{"the subject changes its file inputs/value.npy"}},
		{"is not steady", diagnose.Right, []string{"a second forward on the same inputs gives another output"}},
	} {
		t.Run(tc.fault, func(t *testing.T) {
			r, err := newWorld(t, tc.fault).check(t.Context(), command(tc.fault))
			require.NoError(t, err)
			require.Equal(t, report.Fail, r.Results[1].Verdict)
			require.Equal(t, tc.class, r.Results[1].Diagnosis.Class)
			require.Equal(t, tc.findings, r.Results[1].Findings)
		})
	}
}

// Once mode gives the same verdicts.
func TestOnce(t *testing.T) {
	for _, tc := range []struct {
		fault   string
		verdict report.Verdict
		want    string
	}{
		{"once", report.Pass, ""},
		{"once floods stdout", report.Pass, ""},
		{"once crashes", report.Error, "it ended (exit status 3), want exit status 0\nlast lines of stderr:\n  boom"},
		{"once hangs", report.Error, "it has not ended for 2s"},
		{
			"once writes nothing", report.Error, "output.npy: the child has not written it\n" +
				"hint: a program that answers messages on its stdin runs without --once",
		},
		{"once leaves grandchildren", report.Error, "it ended and left other processes running"},
		{"once fills its folder", report.Error, "it wrote more than 64 MiB or 1000 files into its folder"},
		{"once leaves garbage", report.Error, "reply.json: because: unknown field"},
		{"once skips", report.Skip, subject.ErrNotOffered.Error() + ": no causal mask"},
		{"once declares bfloat16", report.Pass, ""},
		{"once declares float8", report.Error, `reply.json: precision: "float8", want one of ["float16" "bfloat16" "tf32" "int8-cache" "fp8-e4m3-cache" "fp8-e5m2-cache"], or nothing for float32`},
		{"once changes a file", report.Fail, ""},
	} {
		t.Run(tc.fault, func(t *testing.T) {
			c := command(tc.fault)
			c.Once = true
			r, err := newWorld(t, tc.fault).check(t.Context(), c)
			require.NoError(t, err)
			require.Equal(t, os.Args[0], r.Subject)
			for i, v := range []report.Verdict{report.Pass, tc.verdict, report.Pass} {
				require.Equal(t, v, r.Results[i].Verdict, "%s: %s", r.Results[i].Case, r.Results[i].Err)
			}
			require.Equal(t, tc.want, r.Results[1].Err)
		})
	}
}

func TestTheFolderTakesThePlaceOfItsName(t *testing.T) {
	c := command("once")
	c.Once, c.Args = true, append(c.Args, "ignored", "-test.v", "{dir}/.")
	r, err := newWorld(t, "once").check(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, 3, r.Count(report.Pass))
}

// A child that does not start is tried three times. All cases report the reason.
func TestChildrenThatNeverServe(t *testing.T) {
	for _, tc := range []struct{ fault, want string }{
		{"never starts", "it has not answered for 2s"},
		{
			"another protocol", "a line on its stdout is not an answer: " +
				`{"type":"started","seq":1,"protocol":2,"name":"new","ops":["module"]}: protocol: 2, want 1`,
		},
	} {
		t.Run(tc.fault, func(t *testing.T) {
			w := newWorld(t, tc.fault)
			r, err := w.check(t.Context(), command(tc.fault))
			require.NoError(t, err)
			for _, result := range r.Results {
				require.Equal(t, report.Error, result.Verdict)
				require.Equal(t, tc.want, result.Err)
			}
			data, err := os.ReadFile(w.pids)
			require.NoError(t, err)
			require.Len(t, strings.Fields(string(data)), 3)
		})
	}
}

// A program for the other way to run it gets a hint.
func TestAProgramForOnceGetsAHint(t *testing.T) {
	r, err := newWorld(t, "once").check(t.Context(), command("once"))
	require.NoError(t, err)
	for _, result := range r.Results {
		require.Contains(t, result.Err, "it ended (")
		require.Contains(t, result.Err, "instead of answering\nhint: a program that computes one case and ends needs --once")
	}
}

// All children of a subject must describe themselves alike. The second job here starts another
// child.
func TestAChildStaysTheSame(t *testing.T) {
	w := newWorld(t, "another each time")
	inPlace := command("")
	inPlace.Jobs = 2
	s, err := child.New(t.Context(), inPlace)
	require.NoError(t, err)
	require.Contains(t, s.About().Name, "faulty")
	var errs []string
	for _, name := range cases[:2] {
		errs = append(errs, fmt.Sprint(s.Run(t.Context(), harnesstest.ReadCase(t, name)).Err))
	}
	require.NoError(t, s.Close())
	require.Equal(t, "<nil>", errs[0])
	require.Contains(t, errs[1], "started again, it calls itself {Protocol:1 Name:faulty")
	w.nothingLeft()
}

// Several children give the same report as one.
func TestJobs(t *testing.T) {
	for _, fault := range []string{"nothing", "crashes", "skips"} {
		t.Run(fault, func(t *testing.T) {
			var texts []string
			for _, jobs := range []int{1, 3} {
				w, c := newWorld(t, fault), command(fault)
				c.Jobs = jobs
				r, err := w.check(t.Context(), c)
				require.NoError(t, err)
				var text bytes.Buffer
				require.NoError(t, report.JSON(&text, r))
				texts = append(texts, text.String())
			}
			require.Equal(t, texts[0], texts[1])
		})
	}
}

// Cancelling a check ends its children, whatever they do.
func TestCancel(t *testing.T) {
	for _, fault := range []string{"hangs", "once hangs"} {
		t.Run(fault, func(t *testing.T) {
			w, c := newWorld(t, fault), command(fault)
			c.Timeout, c.Once = time.Hour, strings.HasPrefix(fault, "once")
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			r, err := w.check(ctx, c)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Len(t, r.Results, 1)
			require.Equal(t, report.Pass, r.Results[0].Verdict)
		})
	}
}

// Series runs each case once, so that a child whose second run differs is not noticed.
func TestSeries(t *testing.T) {
	for _, fault := range []string{"is not steady", "once"} {
		t.Run(fault, func(t *testing.T) {
			w, c := newWorld(t, fault), command(fault)
			c.Jobs, c.Once = 2, fault == "once"
			s, err := child.New(t.Context(), c)
			require.NoError(t, err)
			changed := *harnesstest.ReadCase(t, cases[0])
			changed.Inputs.Query = changed.Inputs.Query.Clone()
			changed.Inputs.Query.Data[0]++
			first, second := harnesstest.ReadCase(t, cases[0]), harnesstest.ReadCase(t, cases[1])
			all := []*fixture.Case{first, &changed, second, first}
			outputs, err := s.Series(t.Context(), all...)
			require.NoError(t, err)
			require.Len(t, outputs, len(all))
			for i, c := range all {
				want, err := attention.SDPA(c.Inputs.Query, c.Inputs.Key, c.Inputs.Value, c.Options)
				require.NoError(t, err)
				require.True(t, subject.Same(want, outputs[i]), i)
			}
			require.False(t, subject.Same(outputs[0], outputs[1]))
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			_, err = s.Series(ended, all[0])
			require.ErrorIs(t, err, context.Canceled)
			require.NoError(t, s.Close())
			w.nothingLeft()
		})
	}
}

func TestPrecisionIsDeclaredOnce(t *testing.T) {
	const conflict = `precision: "float16", but the child declares "bfloat16"`
	for _, tc := range []struct {
		fault string
		flag  subject.Precision
		want  subject.Precision
		err   string
	}{
		{"nothing", subject.Float32, subject.Float32, ""},
		{"nothing", subject.TF32, subject.TF32, ""},
		{"declares bfloat16", subject.Float32, subject.BFloat16, ""},
		{"declares bfloat16", subject.BFloat16, subject.BFloat16, ""},
		{"declares bfloat16", subject.Float16, subject.Float32, conflict},
	} {
		w, c := newWorld(t, tc.fault), command(tc.fault)
		c.Precision = tc.flag
		s, err := child.New(t.Context(), c)
		if tc.err != "" {
			require.EqualError(t, err, tc.err)
		} else {
			require.NoError(t, err)
			require.Equal(t, tc.want, s.About().Precision)
			require.NoError(t, s.Close())
		}
		w.nothingLeft()
	}
}

// A child is not asked for a case that its offer lacks.
func TestWhatIsNotOfferedIsSkipped(t *testing.T) {
	newWorld(t, "nothing")
	s, err := child.New(t.Context(), command(""))
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	for name, want := range map[string]string{
		"mha/causal": "multi_head_attention", "sdpa/alibi": "alibi", "sdpa/float16": "float16",
		"sdpa/bool-mask": "masks", "sdpa/float-mask": "additive-masks", "sdpa/gqa": "grouped-heads",
		"sdpa/sinks": "sinks",
	} {
		err := s.Run(t.Context(), harnesstest.ReadCase(t, name)).Err
		require.ErrorIs(t, err, subject.ErrNotOffered)
		require.EqualError(t, err, subject.ErrNotOffered.Error()+": the child does not offer "+want)
	}
}

func TestCommandsThatCannotBeStarted(t *testing.T) {
	for _, args := range [][]string{nil, {filepath.Join(t.TempDir(), "none")}, {t.TempDir()}} {
		_, err := child.New(t.Context(), child.Command{Args: args, Timeout: time.Second})
		require.Error(t, err)
	}
}

// The child is not blamed for a folder that cannot be written.
func TestNoFolder(t *testing.T) {
	w := newWorld(t, "nothing")
	s, err := child.New(t.Context(), command(""))
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(w.tmp))
	require.NoError(t, os.WriteFile(w.tmp, nil, 0o600)) // no folder can be made here
	require.ErrorIs(t, s.Run(t.Context(), harnesstest.ReadCase(t, cases[0])).Err, subject.ErrNotRun)
	_, err = check.Check(t.Context(), fixtures.FS, s, cases...)
	require.ErrorContains(t, err, cases[0]+": "+subject.ErrNotRun.Error())
	require.NoError(t, os.Remove(w.tmp))
	require.NoError(t, s.Close())
}

// A run goes on in a new folder if something removes the folder of all cases, or all temporary
// folders.
func TestARemovedRootIsMadeAgain(t *testing.T) {
	w := newWorld(t, "nothing")
	s, err := child.New(t.Context(), command(""))
	require.NoError(t, err)
	run := func() error { return s.Run(t.Context(), harnesstest.ReadCase(t, cases[0])).Err }
	require.NoError(t, run())
	left, err := os.ReadDir(w.tmp)
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.NoError(t, os.Remove(filepath.Join(w.tmp, left[0].Name())))
	require.NoError(t, run())
	require.NoError(t, os.RemoveAll(w.tmp))
	require.NoError(t, run())
	require.NoError(t, s.Close())
	w.nothingLeft()
}

// BenchmarkCase measures the cost of a child without its arithmetic: two runs of a case, with all
// files and messages.
func BenchmarkCase(b *testing.B) {
	b.Setenv(pidsVariable, filepath.Join(b.TempDir(), "pids"))
	names, err := fixture.Names(fixtures.FS)
	require.NoError(b, err)
	var suite []*fixture.Case
	for _, name := range names {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(b, err)
		suite = append(suite, c)
	}
	for _, once := range []bool{false, true} {
		b.Run(map[bool]string{false: "serving", true: "once"}[once], func(b *testing.B) {
			b.Setenv(faultVariable, map[bool]string{false: "echoes", true: "once echoes"}[once])
			c := child.Command{Args: []string{os.Args[0]}, Timeout: time.Minute, Once: once}
			s, err := child.New(b.Context(), c)
			require.NoError(b, err)
			for i := 0; b.Loop(); i++ {
				require.NoError(b, s.Run(b.Context(), suite[i%len(suite)]).Err)
			}
			require.NoError(b, s.Close())
		})
	}
}
