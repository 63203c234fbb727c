package blob

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/report"
)

// File is a blob and the name of its file.
type File struct {
	Name string
	*Blob
}

// Join puts all shards of one run together. The error names a shard that is missing, there twice,
// of another run, or not complete.
func Join(files []File) (*Blob, error) {
	if len(files) == 0 {
		return nil, errors.New("no blob")
	}
	first := files[0]
	shards := make([]File, first.Shard.Count)
	for _, f := range files {
		if f.Failure != nil {
			return nil, fmt.Errorf("%s: shard %s has no results: %s", f.Name, f.Shard, f.Failure.Message)
		}
		if err := f.sameRun(first); err != nil {
			return nil, err
		}
		at := &shards[f.Shard.Index-1]
		if at.Blob != nil {
			return nil, fmt.Errorf("%s: shard %s is there twice: %s is it, too", f.Name, f.Shard, at.Name)
		}
		*at = f
	}
	var missing []string
	for i, s := range shards {
		if s.Blob == nil {
			missing = append(missing, fmt.Sprintf("%d/%d", i+1, len(shards)))
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("shard %s is missing", strings.Join(missing, ", "))
	}
	var met *File
	for i, s := range shards {
		if err := s.complete(); err != nil {
			return nil, err
		}
		if len(s.own()) == 0 {
			continue // it may not have met the subject
		}
		if met == nil {
			met = &shards[i]
		}
		if err := s.sameSubject(*met); err != nil {
			return nil, err
		}
	}
	return joined(shards, met), nil
}

// sameRun refuses a shard of another run than the first.
func (f File) sameRun(first File) error {
	return f.same(first, []property{
		{"with another number of shards", fmt.Sprint(f.Shard.Count), fmt.Sprint(first.Shard.Count)},
		{"by another version of difftest", f.Tool, first.Tool},
		{"on another suite", f.SuiteHash, first.SuiteHash},
		{"of another subject", f.About, first.About},
		{"with another declared precision", f.Precision, first.Precision},
		{"with other flags", strings.Join(f.Flags, " "), strings.Join(first.Flags, " ")},
		{"with another list of expected failures", f.Known, first.Known},
		{"with other cases", strings.Join(f.Cases, " "), strings.Join(first.Cases, " ")},
	})
}

// sameSubject refuses a shard that met another subject than the first.
func (f File) sameSubject(first File) error {
	return f.same(first, []property{
		{"of another subject", f.Subject, first.Subject},
		{"of a subject with another precision", f.Observed.Precision, first.Observed.Precision},
	})
}

// property is something that all shards of one run have in common.
type property struct{ what, own, first string }

func (f File) same(first File, properties []property) error {
	for _, p := range properties {
		if p.own != p.first {
			return fmt.Errorf("%s: a shard of another run, %s: %s, and %s in %s",
				f.Name, p.what, shortened(p.own), shortened(p.first), first.Name)
		}
	}
	return nil
}

// shortened returns a text in quotes, without its end if it is long.
func shortened(text string) string {
	const most = 60
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return fmt.Sprintf("%.200q", text)
}

// complete refuses a shard that ended before all of its cases were judged.
func (f File) complete() error {
	all, done := len(f.own()), len(f.Observed.Probed)+len(f.Observed.Broken)
	if done < all {
		return fmt.Errorf("%s: shard %s ended early, after %d of %d cases", f.Name, f.Shard, done, all)
	}
	return nil
}

// joined returns the run of complete shards. It takes as long as all of them together. met is a
// shard that met the subject; nil if none did.
func joined(shards []File, met *File) *Blob {
	out := &Blob{Run: shards[0].Run}
	saw := &out.Observed
	if met != nil {
		out.Subject, saw.Precision = met.Subject, met.Observed.Precision
	}
	for _, s := range shards {
		out.Took += s.Took
		saw.Replies = append(saw.Replies, s.Observed.Replies...)
		saw.Judged = append(saw.Judged, s.Observed.Judged...)
		saw.Probed = append(saw.Probed, s.Observed.Probed...)
		saw.Broken = append(saw.Broken, s.Observed.Broken...)
		for _, b := range s.Observed.General {
			if !slices.Contains(saw.General, b) {
				saw.General = append(saw.General, b)
			}
		}
	}
	slices.Sort(saw.Replies)
	saw.Replies = slices.Compact(saw.Replies)
	byCase := func(a, b report.Result) int { return strings.Compare(a.Case, b.Case) }
	slices.SortFunc(saw.Judged, byCase)
	slices.SortFunc(saw.Probed, byCase)
	slices.SortFunc(saw.Broken, func(a, b report.Broken) int { return strings.Compare(a.Case, b.Case) })
	return out
}
