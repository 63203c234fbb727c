package child_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/npy"
)

// Environment variables of a faulty child: its fault, the case that has the fault, and the file
// that lists its processes.
const (
	faultVariable = "DIFFTEST_TEST_FAULT"
	caseVariable  = "DIFFTEST_TEST_CASE"
	pidsVariable  = "DIFFTEST_TEST_PIDS"
)

// TestMain also runs as the child: the test binary starts itself, so that no other program is
// needed.
func TestMain(m *testing.M) {
	fault := os.Getenv(faultVariable)
	if fault == "" {
		os.Exit(m.Run())
	}
	c := &faulty{fault: fault, at: os.Getenv(caseVariable), in: bufio.NewReader(os.Stdin)}
	note(os.Getpid())
	switch {
	case fault == "sleep":
		time.Sleep(time.Hour)
	case strings.HasPrefix(fault, "once"):
		c.once(os.Args[len(os.Args)-1])
	default:
		c.serve()
	}
}

// note adds a process to the list of processes that must be gone in the end.
func note(pid int) {
	f, err := os.OpenFile(os.Getenv(pidsVariable), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	must(err)
	defer f.Close()
	_, err = fmt.Fprintln(f, pid)
	must(err)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// faulty computes scaled_dot_product_attention without masks, and has one fault, on one case.
type faulty struct {
	fault, at string
	in        *bufio.Reader
	runs      int // of the last case
	last      string
}

// message is any message to a child.
type message struct {
	Type    string  `json:"type"`
	Seq     int     `json:"seq"`
	Dir     string  `json:"dir"`
	Request request `json:"request"`
}

type request struct {
	Case   string `json:"case"`
	Op     string `json:"op"`
	Config struct {
		Causality string  `json:"causality"`
		Scale     float64 `json:"scale"`
	} `json:"config"`
	Inputs  map[string]string `json:"inputs"`
	Output  string            `json:"output"`
	Weights string            `json:"weights"`
}

func (c *faulty) serve() {
	for {
		text, err := c.in.ReadBytes('\n')
		if err != nil {
			return
		}
		var m message
		must(json.Unmarshal(text, &m))
		switch m.Type {
		case "start":
			c.start(m)
		case "run":
			c.run(m)
		case "done":
			if !c.wrong("done", m) {
				say(`{"type":"ok","seq":%d}`, m.Seq)
			}
		default:
			return
		}
	}
}

func say(format string, args ...any) {
	_, err := fmt.Printf(format+"\n", args...)
	must(err)
}

func (c *faulty) start(m message) {
	name, precision := "faulty", ""
	switch c.fault {
	case "never starts":
		time.Sleep(time.Hour)
	case "another each time":
		name += strconv.Itoa(os.Getpid())
	case "declares bfloat16":
		precision = "bfloat16"
	case "another protocol":
		say(`{"type":"started","seq":%d,"protocol":2,"name":"new","ops":["module"]}`, m.Seq)
		return
	}
	if c.fault == "echoes" {
		say(`{"type":"started","seq":%d,"protocol":1,"name":"echo",`+
			`"ops":["scaled_dot_product_attention","multi_head_attention"]}`, m.Seq)
		return
	}
	say(`{"type":"started","seq":%d,"protocol":1,"name":%q,"version":"1","language":"go","precision":%q,`+
		`"ops":["scaled_dot_product_attention"],"features":["window","softcap"]}`, m.Seq, name, precision)
}

func (c *faulty) run(m message) {
	if c.fault == "echoes" {
		echo(m)
		say(`{"type":"ok","seq":%d}`, m.Seq)
		return
	}
	if c.runs++; m.Request.Case != c.last {
		c.runs, c.last = 1, m.Request.Case
	}
	if c.wrong("run", m) {
		return
	}
	write(filepath.Join(m.Dir, m.Request.Output), harnesstest.NPY(compute(m.Dir, m.Request)))
	say(`{"type":"ok","seq":%d}`, m.Seq)
	c.after(m)
}

// echo answers with the query, without any arithmetic.
func echo(m message) {
	write(filepath.Join(m.Dir, m.Request.Output), read(m.Dir, m.Request.Inputs["query"]))
	if m.Request.Weights != "" {
		write(filepath.Join(m.Dir, m.Request.Weights), read(m.Dir, m.Request.Inputs["query"]))
	}
}

func read(dir, file string) []byte {
	data, err := os.ReadFile(filepath.Join(dir, file))
	must(err)
	return data
}

// compute returns the right output.
func compute(dir string, r request) *attention.Tensor {
	tensor := func(name string) *attention.Tensor {
		a, err := npy.Parse(read(dir, r.Inputs[name]))
		must(err)
		t, err := a.Tensor(fixture.Float32)
		must(err)
		return t
	}
	causality := map[string]attention.Causality{
		"none": attention.NotCausal, "top-left": attention.TopLeft, "lower-right": attention.LowerRight,
	}
	options := attention.SDPAOptions{Causality: causality[r.Config.Causality], Scale: r.Config.Scale}
	out, err := attention.SDPA(tensor("query"), tensor("key"), tensor("value"), options)
	must(err)
	return out
}

func write(file string, data []byte) { must(os.WriteFile(file, data, 0o644)) }

// wrong commits the fault instead of an answer, and reports whether it has answered.
func (c *faulty) wrong(asked string, m message) bool {
	if c.last != c.at {
		return false
	}
	if do := inPlaceOf[c.fault]; asked == "run" && do != nil {
		return do(c, m)
	}
	if asked == "done" {
		switch c.fault {
		case "exits after its last answer":
			os.Exit(0)
		case "answers done twice":
			say(`{"type":"ok","seq":%d}`, m.Seq-1)
		case "skips done":
			say(`{"type":"skipped","seq":%d,"reason":"no"}`, m.Seq)
			return true
		}
	}
	return false
}

// after commits the faults that follow a right answer.
func (c *faulty) after(m message) {
	if c.last != c.at {
		return
	}
	switch c.fault {
	case "answers the first run twice":
		if c.runs == 1 {
			say(`{"type":"ok","seq":%d}`, m.Seq)
		}
	case "answers the second run twice":
		if c.runs == 2 {
			say(`{"type":"ok","seq":%d}`, m.Seq)
		}
	case "exits 0 after the first run":
		os.Exit(0)
	}
}

// inPlaceOf holds the faults during a run. Each reports whether it has answered, or never returns.
var inPlaceOf = map[string]func(c *faulty, m message) bool{
	"crashes": func(*faulty, message) bool {
		fmt.Fprintln(os.Stderr, "first line\nboom: \x1b[31mred\x1b[0m")
		os.Exit(3)
		return true
	},
	"exits 0": func(*faulty, message) bool { os.Exit(0); return true },
	"hangs":   func(*faulty, message) bool { time.Sleep(time.Hour); return true },
	"hangs and floods stderr": func(*faulty, message) bool {
		for {
			fmt.Fprintln(os.Stderr, strings.Repeat("flood ", 100))
		}
	},
	"floods stderr and answers": func(*faulty, message) bool {
		for range 1000 {
			fmt.Fprintln(os.Stderr, strings.Repeat("chatter ", 1000))
		}
		return false
	},
	"floods stdout": func(*faulty, message) bool {
		for {
			if _, err := fmt.Println("y"); err != nil {
				time.Sleep(time.Hour)
			}
		}
	},
	"garbage":           func(*faulty, message) bool { say("\x1b[31mdebug: %d", 7); return true },
	"unknown field":     answer(`{"type":"ok","seq":%d,"speed":9}`),
	"unprintable field": answer(`{"type":"ok","seq":%d,"\u001b[2J":9}`),
	"a field twice":     answer(`{"type":"ok","seq":%[1]d,"seq":%[1]d}`),
	"a field too many":  answer(`{"type":"ok","seq":%d,"reason":"x"}`),
	"a late precision":  answer(`{"type":"ok","seq":%d,"precision":"tf32"}`),
	"unknown type":      answer(`{"type":"fine","seq":%d}`),
	"no reason":         answer(`{"type":"skipped","seq":%d}`),
	"answers ahead":     func(_ *faulty, m message) bool { m.Seq++; return ok(m) },
	"answers behind":    func(_ *faulty, m message) bool { m.Seq--; return ok(m) },
	"starts over":       func(_ *faulty, m message) bool { (&faulty{}).start(m); return true },
	"half a line":       func(*faulty, message) bool { fmt.Print(`{"type":"ok",`); os.Exit(0); return true },
	"100 MB of a line":  func(*faulty, message) bool { hugeLine(); return true },
	"closes stdin": func(_ *faulty, m message) bool {
		must(os.Stdin.Close())
		output(func(file []byte) []byte { return file })(nil, m)
		time.Sleep(time.Hour)
		return true
	},
	"closes stdout":    func(*faulty, message) bool { must(os.Stdout.Close()); time.Sleep(time.Hour); return true },
	"no output":        func(_ *faulty, m message) bool { return ok(m) },
	"no second output": func(c *faulty, m message) bool { return c.runs == 2 && ok(m) },
	"short output":     output(func(file []byte) []byte { return file[:len(file)-3] }),
	"long output":      output(func(file []byte) []byte { return append(file, 0) }),
	"empty output":     output(func([]byte) []byte { return nil }),
	"wrong dtype":      output(func(file []byte) []byte { return asFloat64(file) }),
	"claims terabytes": output(func(file []byte) []byte {
		return harnesstest.NPYFile(1, harnesstest.NPYHeader("<f4", false, []int{1 << 40}), []byte{1})
	}),
	"wrong shape":  output(func([]byte) []byte { return harnesstest.NPY(attention.NewTensor(2, 3)) }),
	"not a number": output(func(file []byte) []byte { copy(file[len(file)-4:], "\x00\x00\xc0\x7f"); return file }),
	"changes a file": func(_ *faulty, m message) bool {
		touch(filepath.Join(m.Dir, m.Request.Inputs["key"]))
		return false
	},
	"removes a file": func(c *faulty, m message) bool { return c.runs == 2 && removes(m) },
	"is not steady": func(c *faulty, m message) bool {
		return c.runs == 2 && output(func(file []byte) []byte { file[len(file)-4] ^= 1; return file })(c, m)
	},
	"skips":            answer(`{"type":"skipped","seq":%d,"reason":"no causal\u001b[2J mask"}`),
	"skips the second": func(c *faulty, m message) bool { return c.runs == 2 && skip(m) },
	"reports an error": answer(`{"type":"error","seq":%d,"message":"ValueError: no","traceback":"line 1\nline 2\n"}`),
	"large file": func(_ *faulty, m message) bool {
		sparse(filepath.Join(m.Dir, "scratch"))
		time.Sleep(time.Hour)
		return true
	},
	"large output": func(_ *faulty, m message) bool { sparse(filepath.Join(m.Dir, m.Request.Output)); return ok(m) },
	"many files":   func(_ *faulty, m message) bool { many(m.Dir); time.Sleep(time.Hour); return true },
	"folder for output": func(_ *faulty, m message) bool {
		must(os.MkdirAll(filepath.Join(m.Dir, m.Request.Output), 0o755))
		return ok(m)
	},
	"leaves grandchildren": func(*faulty, message) bool {
		spawn()
		os.Exit(1)
		return true
	},
}

// answer is a fault that consists of a wrong answer.
func answer(format string) func(*faulty, message) bool {
	return func(_ *faulty, m message) bool {
		say(format, m.Seq)
		return true
	}
}

func ok(m message) bool {
	say(`{"type":"ok","seq":%d}`, m.Seq)
	return true
}

func skip(m message) bool {
	say(`{"type":"skipped","seq":%d,"reason":"tired"}`, m.Seq)
	return true
}

// output writes a right output, changed.
func output(change func(file []byte) []byte) func(*faulty, message) bool {
	return func(_ *faulty, m message) bool {
		write(filepath.Join(m.Dir, m.Request.Output), change(harnesstest.NPY(compute(m.Dir, m.Request))))
		return ok(m)
	}
}

func asFloat64(file []byte) []byte {
	a, err := npy.Parse(file)
	must(err)
	values, err := a.Float64s()
	must(err)
	return harnesstest.NPYFile(1, harnesstest.NPYHeader("<f8", false, a.Shape), values)
}

func hugeLine() {
	part := bytes.Repeat([]byte("x"), 1<<20)
	for range 100 {
		if _, err := os.Stdout.Write(part); err != nil {
			break
		}
	}
	time.Sleep(time.Hour)
}

func touch(file string) {
	data := read("", file)
	data[len(data)-4] ^= 1 // the lowest bit of the last float32
	write(file, data)
}

func removes(m message) bool {
	write(filepath.Join(m.Dir, m.Request.Output), harnesstest.NPY(compute(m.Dir, m.Request)))
	must(os.Remove(filepath.Join(m.Dir, m.Request.Inputs["value"])))
	return ok(m)
}

// sparse makes a file of a terabyte that takes no space on disk.
func sparse(file string) {
	f, err := os.Create(file)
	must(err)
	must(f.Truncate(1 << 40))
	must(f.Close())
}

func many(dir string) {
	for i := range 1500 {
		write(filepath.Join(dir, strconv.Itoa(i)), nil)
	}
}

// spawn starts a process that holds the pipes of this one and never ends.
func spawn() {
	cmd := sleeper()
	must(cmd.Start())
	note(cmd.Process.Pid)
}

func sleeper() *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), faultVariable+"=sleep")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

// once serves one case in Once mode.
func (c *faulty) once(dir string) {
	text, err := os.ReadFile(filepath.Join(dir, "request.json"))
	must(err)
	var m message
	must(json.Unmarshal(text, &m.Request))
	m.Dir = dir
	if c.fault == "once echoes" {
		echo(m)
		return
	}
	if c.fault == "once declares bfloat16" {
		defer write(filepath.Join(dir, "reply.json"), []byte(`{"type":"ok","precision":"bfloat16"}`))
	}
	if m.Request.Case == c.at {
		switch c.fault {
		case "once crashes":
			fmt.Fprintln(os.Stderr, "boom")
			os.Exit(3)
		case "once hangs":
			time.Sleep(time.Hour)
		case "once writes nothing":
			return
		case "once floods stdout":
			for range 100 {
				fmt.Println(strings.Repeat("y\n", 1<<15))
			}
		case "once leaves grandchildren":
			defer spawn()
		case "once skips":
			write(filepath.Join(dir, "reply.json"), []byte(`{"type":"skipped","reason":"no causal mask"}`))
			return
		case "once declares float8":
			defer write(filepath.Join(dir, "reply.json"), []byte(`{"type":"ok","precision":"float8"}`))
		case "once leaves garbage":
			write(filepath.Join(dir, "reply.json"), []byte(`{"type":"skipped","because":"no causal mask"}`))
			return
		case "once fills its folder":
			sparse(filepath.Join(dir, "scratch"))
			time.Sleep(time.Hour)
		case "once changes a file":
			defer touch(filepath.Join(dir, m.Request.Inputs["key"]))
		}
	}
	write(filepath.Join(dir, m.Request.Output), harnesstest.NPY(compute(dir, m.Request)))
}
