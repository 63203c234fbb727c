package check

import (
	"io/fs"
	"sync"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// shelfSize is how many bytes of arrays of right cases stay in memory for the search for causes.
// The embedded cases of attention take less. Other cases are read again when a cause needs them.
const shelfSize = 32 << 20

// shelf holds the cases of a run. It may be used from several goroutines.
type shelf struct {
	suite fs.FS

	mu    sync.Mutex
	cases map[string]func() *fixture.Case
	free  int // bytes
}

// letGo frees the case and the values of an output that is not wrong. The causes find the case on
// the shelf. A turn without a verdict, or with a wrong output, stays as it is.
func (t *turn) letGo(s *shelf, name string) {
	if !t.done || t.result.Wrong() {
		return
	}
	s.offer(name, t.c)
	t.c, t.ran = nil, subject.Result{}
	if t.result.Verdict == report.Pass {
		t.result = t.result.WithoutValues()
	}
}

func newShelf(suite fs.FS) *shelf {
	return &shelf{suite: suite, cases: map[string]func() *fixture.Case{}, free: shelfSize}
}

// keep keeps a case, unless it is nil.
func (s *shelf) keep(name string, c *fixture.Case) {
	if c != nil {
		s.put(name, func() *fixture.Case { return c })
	}
}

// offer keeps a case if there is room. Otherwise the case is read again when somebody asks for it.
func (s *shelf) offer(name string, c *fixture.Case) {
	size := c.Bytes()
	s.mu.Lock()
	fits := size <= s.free
	if fits {
		s.free -= size
	}
	s.mu.Unlock()
	if fits {
		s.put(name, func() *fixture.Case { return c })
		return
	}
	s.put(name, sync.OnceValue(func() *fixture.Case {
		again, err := fixture.Read(s.suite, name)
		if err != nil {
			return nil // its file has changed during the run
		}
		return again
	}))
}

func (s *shelf) put(name string, get func() *fixture.Case) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cases[name] = get
}

// get returns a case, nil if it is not on the shelf or cannot be read again.
func (s *shelf) get(name string) *fixture.Case {
	s.mu.Lock()
	get := s.cases[name]
	s.mu.Unlock()
	if get == nil {
		return nil
	}
	return get()
}
