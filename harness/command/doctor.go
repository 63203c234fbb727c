package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/parallel"
)

func doctorCommand() *cobra.Command {
	var d doctor
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "See that difftest itself works on this machine",
		Long: `doctor checks what every verdict rests on, a line each: the files of the cases
and their sums; the truth, which difftest computes again and holds against
PyTorch's; the folder for temporary files; and the terminal.

The exit status is 3 if anything is off.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd) },
	}
	d.suite.add(cmd)
	return cmd
}

// doctor checks the suite, the oracle and the machine.
type doctor struct {
	suite suiteFlag
	cases []*fixture.Case // that can be read
}

func (d *doctor) run(cmd *cobra.Command) error {
	ctx, follow := followed(cmd)
	off := 0
	for _, check := range []struct {
		name string
		run  func(ctx context.Context, out io.Writer) (string, error)
	}{
		{"suite", d.checkSuite},
		{"truth", d.checkTruth},
		{"temp", checkTemp},
		{"terminal", checkTerminal},
	} {
		found, err := check.run(ctx, cmd.OutOrStdout())
		follow.pause()
		if ctx.Err() != nil {
			return interrupted(ctx, ctx.Err())
		}
		word := "ok"
		if err != nil {
			word, found = "OFF", firstLines(err)
			off++
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%-4s  %-8s  %s\n", word, check.name, found)
	}
	if off > 0 {
		return exit(exitBroken, "off: %d, named above", off)
	}
	return nil
}

// firstLines returns the first problems of an error, below each other.
func firstLines(err error) string {
	const most = 5
	lines := strings.Split(err.Error(), "\n")
	if left := len(lines) - most; left > 0 {
		lines = append(lines[:most], fmt.Sprintf("and %d more", left))
	}
	return strings.Join(lines, "\n                ")
}

// checkSuite reads every case. Reading holds each file against its sum, type and shape.
func (d *doctor) checkSuite(context.Context, io.Writer) (string, error) {
	suite, err := d.suite.open()
	if err != nil {
		return "", err
	}
	names, err := fixture.Names(suite)
	errs := []error{err}
	for _, name := range names {
		c, err := fixture.Read(suite, name)
		if err == nil {
			d.cases = append(d.cases, c)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	files, size := countFiles(suite)
	return fmt.Sprintf("%d cases by %s; all %d files (%.1f MB) have their sums",
		len(d.cases), sourceOf(suite, names), files, float64(size)/1e6), nil
}

// countFiles returns the number of files of a suite and their bytes.
func countFiles(suite fs.FS) (n int, size int64) {
	_ = fs.WalkDir(suite, ".", func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(e.Name()) == ".go" {
			return nil
		}
		if info, err := e.Info(); err == nil {
			n, size = n+1, size+info.Size()
		}
		return nil
	})
	return n, size
}

// checkTruth computes every case again, and holds the result against PyTorch's in float64.
// PyTorch's own output in the precision of the case must pass.
func (d *doctor) checkTruth(ctx context.Context, _ io.Writer) (string, error) {
	if len(d.cases) == 0 {
		return "", errors.New("no case can be read")
	}
	errs := make([]error, len(d.cases))
	parallel.Each(len(d.cases), func(i int) { errs[i] = checkTruthOf(ctx, d.cases[i]) })
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	unknown := 0
	for _, c := range d.cases {
		if c.Op == fixture.Module && c.Graph == nil {
			unknown++
		}
	}
	text := fmt.Sprintf("computed again, as PyTorch has it, in all %d cases", len(d.cases)-unknown)
	if unknown > 0 {
		text += fmt.Sprintf("; %d have no graph to compute", unknown)
	}
	return text, nil
}

func checkTruthOf(ctx context.Context, c *fixture.Case) error {
	referee, err := judge.New(ctx, c, oracle.Precision{})
	if err != nil {
		return err
	}
	r, err := referee.Compare(c.Output.Shape, c.Output.Float64s())
	if err == nil && !r.Right() {
		err = fmt.Errorf("%s: PyTorch's own output fails: max z %.3g, rms z %.3g",
			c.Name, r.Comparison.MaxZ, r.Comparison.RMSZ)
	}
	return err
}

// checkTemp writes a file for temporary data and reads it again. Children get their requests there.
func checkTemp(context.Context, io.Writer) (string, error) {
	const size = 32 << 20
	dir, err := os.MkdirTemp("", "difftest-doctor-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "file")
	data := bytes.Repeat([]byte("difftest"), size/8)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return "", err
	}
	read, err := os.ReadFile(file)
	if err == nil && !bytes.Equal(read, data) {
		err = fmt.Errorf("%s: a file changed on its way", file)
	}
	return fmt.Sprintf("%s takes a file of %d MiB", os.TempDir(), size>>20), err
}

// checkTerminal looks at the width of a terminal and at its character set.
func checkTerminal(_ context.Context, out io.Writer) (string, error) {
	width := terminalWidth(out)
	if width == 0 {
		return "none: lines are not cut, and are wrapped at 80 columns", nil
	}
	if width < 80 {
		return "", fmt.Errorf("%d columns: tables and pictures of masks need 80", width)
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		locale := os.Getenv(name)
		if locale == "" {
			continue
		}
		if charset := strings.ToUpper(strings.ReplaceAll(locale, "-", "")); !strings.Contains(charset, "UTF8") {
			return "", fmt.Errorf("%s=%s: reports are UTF-8", name, locale)
		}
		break
	}
	return fmt.Sprintf("%d columns", width), nil
}
